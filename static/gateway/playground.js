/** The playground: pick models, write a prompt, run it, see what each answers, costs and takes. */

import { Refusal, compare, fetchModels } from "./calls.js";
import { ResultCard, make, praiseBest, showDifferences } from "./results.js";
import { write } from "./snippets.js";

const MOST_MODELS = 8;
const DRAFT = "portico-playground";
const form = document.getElementById("playground");
const by = (id) => document.getElementById(id);
const picked = new Set();
let running = null;
let shownForm = "json";

// Messages

function addMessage({ role = "user", content = "" } = {}) {
  const roles = ["user", "assistant"].map((name) => make("option", { value: name }, name[0].toUpperCase() + name.slice(1)));
  const select = make("select", { class: "pg-input", "aria-label": "Who speaks" }, ...roles);
  select.value = role;
  const text = make("textarea", { class: "pg-input", rows: "3", "aria-label": "What is said", placeholder: "Say something" });
  text.value = content;
  const remove = make("button", { type: "button", class: "pg-button pg-quiet", "aria-label": "Remove this message", title: "Remove" }, "✕");
  const item = make("li", { class: "pg-message" }, select, text, remove);
  remove.addEventListener("click", () => {
    item.remove();
    if (!by("pg-messages").children.length) addMessage();
    changed();
  });
  by("pg-messages").append(item);
  return text;
}

function readMessages() {
  const system = form.elements.system.value.trim();
  const said = [...by("pg-messages").children].map((item) => ({
    role: item.querySelector("select").value,
    content: item.querySelector("textarea").value,
  }));
  return [...(system ? [{ role: "system", content: system }] : []), ...said.filter((message) => message.content.trim())];
}

// The request

/** Return the request as the form describes it. Throws Refusal for what is no JSON. */
function readRequest() {
  const request = { messages: readMessages() };
  for (const name of ["temperature", "max_completion_tokens", "top_p", "seed"]) {
    const value = form.elements[name].value;
    if (value !== "") request[name] = Number(value);
  }
  const format = form.elements.format.value;
  if (format === "json_object") request.response_format = { type: format };
  if (format === "json_schema") {
    const schema = readJson("schema", "The schema");
    request.response_format = { type: format, json_schema: { name: "answer", strict: true, schema } };
  }
  if (form.elements.tools.value.trim()) request.tools = readJson("tools", "The list of tools");
  return request;
}

function readJson(name, words) {
  try {
    return JSON.parse(form.elements[name].value);
  } catch (error) {
    form.elements[name].setAttribute("aria-invalid", "true");
    throw new Refusal(`${words} is not valid JSON: ${error.message}.`);
  }
}

// Running

async function run() {
  if (running) return;
  tell("");
  let request;
  try {
    request = readRequest();
    if (!picked.size) throw new Refusal("Pick a model first.");
    if (!request.messages.some((message) => message.role !== "system")) throw new Refusal("Write a message first.");
  } catch (error) {
    tell(error.message);
    return;
  }
  running = new AbortController();
  const cards = new Map([...picked].map((model) => [model, new ResultCard(model, { recordsUrl: form.dataset.records, onReply: reply })]));
  by("pg-results").replaceChildren(...[...cards.values()].map((card) => card.element));
  by("pg-differences").hidden = true;
  showRunning(true);
  try {
    for await (const [event, data] of compare({ models: [...picked], ...request, stream: true }, running.signal)) {
      if (event === "model.delta") cards.get(data.model).add(data.delta);
      else if (event === "model.done") cards.get(data.model).finish(data);
      else if (event === "comparison.done") showDifferences(by("pg-differences"), data.differences);
    }
    praiseBest([...cards.values()]);
  } catch (error) {
    if (error.name !== "AbortError") tell(error instanceof Refusal ? error.message : "The connection broke before the answer was complete.");
  } finally {
    cards.forEach((card) => card.stop());
    running = null;
    showRunning(false);
  }
}

function showRunning(is) {
  by("pg-run").disabled = is;
  by("pg-stop").hidden = !is;
  by("pg-results").setAttribute("aria-busy", String(is));
}

function tell(words) {
  by("pg-fault").textContent = words;
  by("pg-fault").hidden = !words;
}

/** Take an answer into the conversation and let the person go on. */
function reply(message) {
  addMessage({ role: "assistant", content: message.content });
  addMessage().focus();
  changed();
}

// Models

function showModels(models) {
  const items = models.map((model) => {
    const box = make("input", { type: "checkbox", value: model.name });
    box.checked = picked.has(model.name);
    box.addEventListener("change", () => pick(box));
    const price = model.prices ? `$${Number(model.prices.input)} / $${Number(model.prices.output)}` : "free";
    const title = `${model.provider}, tier ${model.tier}; ${model.prices ? "input and output, per million tokens" : "no price"}`;
    return make("li", { "data-name": model.name.toLowerCase() }, make("label", { title }, box, make("b", {}, model.name), make("span", { class: "pg-faint" }, price)));
  });
  by("pg-models").replaceChildren(...(items.length ? items : [make("li", { class: "pg-faint", role: "status" }, "There is no chat model that you may use.")]));
}

function pick(box) {
  if (!box.checked) picked.delete(box.value);
  else if (picked.size < MOST_MODELS) picked.add(box.value);
  else box.checked = false;
  countPicked();
  changed();
}

function countPicked() {
  by("pg-picked").textContent = picked.size
    ? `${picked.size} picked${picked.size === MOST_MODELS ? ", which is the most" : ""}: ${[...picked].join(", ")}`
    : "None picked. Up to 8 answer side by side.";
}

// What is on the page, as code and for the next visit

function changed() {
  form.querySelectorAll("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
  const format = form.elements.format.value;
  form.querySelectorAll("[data-shown-for]").forEach((part) => (part.hidden = part.dataset.shownFor !== format));
  try {
    by("pg-snippet").textContent = write(shownForm, readRequest(), [...picked]);
  } catch (error) {
    by("pg-snippet").textContent = error.message;
  }
  const fields = ["system", "temperature", "max_completion_tokens", "top_p", "seed", "format", "schema", "tools"];
  const values = Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
  const messages = readMessages().filter((message) => message.role !== "system");
  sessionStorage.setItem(DRAFT, JSON.stringify({ values, messages, models: [...picked] }));
}

function restore() {
  let draft = {};
  try {
    draft = JSON.parse(sessionStorage.getItem(DRAFT)) || {};
  } catch {
    // What cannot be read is begun anew.
  }
  for (const [name, value] of Object.entries(draft.values || {})) form.elements[name].value = value;
  (draft.messages?.length ? draft.messages : [{}]).forEach((message) => addMessage(message));
  (draft.models || []).forEach((model) => picked.add(model));
}

function selectForm(tab) {
  shownForm = tab.dataset.form;
  for (const other of form.querySelectorAll("[role=tab]")) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  changed();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("input", (event) => event.target.id !== "pg-filter" && changed());
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
  if (event.key === "Enter" && event.target.id === "pg-filter") event.preventDefault();
  const tab = event.target.closest("[role=tab]");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (tab && step) {
    const tabs = [...form.querySelectorAll("[role=tab]")];
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    selectForm(next);
    next.focus();
  }
});
document.addEventListener("keydown", (event) => event.key === "Escape" && running?.abort());
by("pg-stop").addEventListener("click", () => running?.abort());
by("pg-add").addEventListener("click", () => addMessage().focus());
by("pg-filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const item of by("pg-models").children) item.hidden = !(item.dataset.name || "").includes(wanted);
});
form.querySelectorAll("[role=tab]").forEach((tab) => tab.addEventListener("click", () => selectForm(tab)));
by("pg-copy").addEventListener("click", async (event) => {
  await navigator.clipboard?.writeText(by("pg-snippet").textContent);
  event.target.textContent = navigator.clipboard ? "Copied" : "Select and copy it";
  setTimeout(() => (event.target.textContent = "Copy"), 2000);
});

restore();
fetchModels()
  .then((models) => {
    const names = new Set(models.map((model) => model.name));
    [...picked].filter((name) => !names.has(name)).forEach((name) => picked.delete(name));
    if (!picked.size && models.length) picked.add(models[0].name);
    showModels(models);
    countPicked();
    changed();
  })
  .catch((error) => by("pg-models").replaceChildren(make("li", { class: "pg-notice", role: "alert" }, error.message)));
