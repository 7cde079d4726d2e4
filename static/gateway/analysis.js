/** Analyse a text: choose what to find out and who finds it, and see each finding as soon as it is ready. */

import { Refusal, analyse, fetchModels } from "./calls.js";
import { FindingCard } from "./findings.js";
import { dollars, make, seconds } from "./results.js";

const form = document.getElementById("analysis");
const by = (id) => document.getElementById(id);
const boxes = [...form.querySelectorAll("[name=analyses]")];
const longest = Number(form.dataset.longest);
const numbers = new Intl.NumberFormat("en");
let running = null;

const chosen = () => boxes.filter((box) => box.checked);
const nameOf = (box) => box.closest("label").textContent.trim();
/** Characters as the server counts them, not UTF-16's halves. */
const lengthOf = (text) => [...text.trim()].length;

// Running

async function run() {
  if (running) return;
  tell("");
  const picked = chosen();
  const length = lengthOf(form.elements.text.value);
  try {
    if (!length) throw refuse("text", "There is no text: paste the one that should be analysed.");
    if (length > longest) throw refuse("text", `The text has ${numbers.format(length)} characters, and ${numbers.format(longest)} are the most: shorten it, or analyse it in parts.`);
    if (!picked.length) throw refuse("analyses", "No analysis is chosen: choose at least one.");
  } catch (error) {
    tell(error.message, error.fields);
    return;
  }
  running = new AbortController();
  const begun = performance.now();
  const cards = new Map(picked.map((box) => [box.value, new FindingCard(box.value, nameOf(box))]));
  by("an-findings").replaceChildren(...[...cards.values()].map((card) => card.element));
  by("an-sum").hidden = true;
  showRunning(true);
  say(`${cards.size} ${cards.size === 1 ? "analysis is" : "analyses are"} running.`);
  let ready = 0;
  try {
    for await (const [event, data] of analyse(form.action, new FormData(form), running.signal)) {
      if (event === "analysis.done") {
        const card = cards.get(data.analysis);
        card.finish(data);
        ready += 1;
        say(`${card.name} ${data.error ? "failed" : "is ready"}, ${ready} of ${cards.size}.`);
      } else if (event === "run.done") {
        showSum([...cards.values()], data.cost_micros, performance.now() - begun);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else tell(error instanceof Refusal ? error.message : "The connection broke before every analysis was ready.", error.fields);
    if (error instanceof Refusal) cards.forEach((card) => card.element.remove());
  } finally {
    cards.forEach((card) => card.stop());
    running = null;
    showRunning(false);
  }
}

const refuse = (field, words) => new Refusal(words, { [field]: [words] });

function showSum(cards, micros, milliseconds) {
  const failed = cards.filter((card) => card.hasFailed).length;
  const parts = [`${cards.length} ${cards.length === 1 ? "analysis" : "analyses"}`, ...(failed ? [`${failed} failed`] : [])];
  by("an-sum").replaceChildren(
    make("span", {}, parts.join(", ")),
    make("span", {}, "Cost in all ", make("b", {}, dollars(micros))),
    make("span", {}, "Time in all ", make("b", {}, seconds(Math.round(milliseconds)))),
  );
  by("an-sum").hidden = false;
  say(`All ready. Cost in all ${dollars(micros)}.`, { adding: true });
}

function showRunning(is) {
  by("an-run").disabled = is;
  by("an-stop").hidden = !is;
  by("an-findings").setAttribute("aria-busy", String(is));
}

/** Tell what is wrong, beside the button and at the fields. */
function tell(words, fields = {}) {
  by("an-fault").textContent = words;
  by("an-fault").hidden = !words;
  const concerned = { text: form.elements.text, analyses: by("an-analyses"), model: form.elements.model };
  for (const [name, element] of Object.entries(concerned)) element.toggleAttribute("data-wrong", Boolean(fields?.[name]));
  form.elements.text.setAttribute("aria-invalid", String(Boolean(fields?.text)));
  if (fields?.text) form.elements.text.focus();
  else if (fields?.analyses) boxes[0].focus();
}

function say(words, { adding = false } = {}) {
  by("an-said").textContent = adding ? `${by("an-said").textContent} ${words}` : words;
}

// The form

function changed() {
  const length = lengthOf(form.elements.text.value);
  by("an-count").textContent = numbers.format(length);
  by("an-length").toggleAttribute("data-over", length > longest);
  const count = chosen().length;
  by("an-chosen").textContent = count ? `${count} of ${boxes.length} chosen` : "None chosen";
  by("an-all").textContent = count === boxes.length ? "Choose none" : "Choose all";
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("input", changed);
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
document.addEventListener("keydown", (event) => event.key === "Escape" && running?.abort());
by("an-stop").addEventListener("click", () => running?.abort());
by("an-all").addEventListener("click", () => {
  const is = chosen().length < boxes.length;
  boxes.forEach((box) => (box.checked = is));
  changed();
});

changed();
fetchModels()
  .then((models) => {
    const options = models.map((model) => make("option", { value: model.name }, model.is_sandbox ? `${model.name} (sandbox)` : model.name));
    if (options.length) form.elements.model.append(make("optgroup", { label: "Models" }, ...options));
  })
  .catch((error) => tell(`${error.message} The built-in methods can be used all the same.`));
