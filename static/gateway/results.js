/** The answers of one run, side by side. */

/** Return an element with attributes and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return a time in words. */
export const seconds = (ms) => (ms === null ? "–" : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(2)} s`);
const ENDS = { stop: "complete", length: "cut at the bound", tool_calls: "calls tools", content_filter: "filtered" };
/** Return a sum in words. */
export const dollars = (micros) => (micros ? `$${(micros / 1e6).toFixed(6)}` : "$0");

/** One model's answer. `onReply` is called with its message when the person goes on from it. */
export class ResultCard {
  constructor(model, { recordsUrl, onReply }) {
    this.model = model;
    this.recordsUrl = recordsUrl;
    this.onReply = onReply;
    this.state = make("span", { class: "pg-state", "data-state": "running" }, "waiting");
    this.answer = make("div", { class: "pg-answer", tabindex: "0", role: "region", "aria-label": `Answer of ${model}` });
    this.element = make(
      "article",
      { class: "pg-card pg-result", "aria-busy": "true" },
      make("header", {}, make("h2", {}, model), this.state),
      this.answer,
    );
  }

  add(text) {
    const isAtEnd = this.answer.scrollHeight - this.answer.scrollTop - this.answer.clientHeight < 24;
    this.answer.append(text);
    this.#say("running", "answering");
    if (isAtEnd) this.answer.scrollTop = this.answer.scrollHeight;
  }

  finish(result) {
    this.result = result;
    this.element.setAttribute("aria-busy", "false");
    const { error, message } = result;
    this.#say(error ? "failed" : "done", error ? "failed" : ENDS[result.finish_reason] || "done");
    const calls = message?.tool_calls;
    if (!this.answer.textContent) this.answer.textContent = message?.content || message?.refusal || "";
    if (calls?.length) this.answer.after(make("pre", { class: "pg-mono" }, JSON.stringify(calls, null, 2)));
    if (error) {
      if (!this.answer.textContent) this.answer.remove();
      this.element.append(make("p", { class: "pg-notice", role: "alert" }, error.detail || error.title));
    }
    this.element.append(this.#figures(result), this.#foot(result));
  }

  /** Say that nobody waits for the rest. */
  stop() {
    if (this.result) return;
    this.element.setAttribute("aria-busy", "false");
    this.#say("failed", "stopped");
  }

  /** Point out where this answer is the best of all in one figure. */
  praise(name) {
    this.element.querySelector(`[data-figure="${name}"]`)?.setAttribute("data-best", "");
  }

  #say(state, words) {
    this.state.dataset.state = state;
    if (this.state.textContent !== words) this.state.textContent = words;
  }

  #figures(result) {
    const usage = result.usage || {};
    const figures = [
      ["first", "First token", seconds(result.first_token_ms)],
      ["latency", "Whole answer", seconds(result.latency_ms)],
      ["tokens", "Tokens", result.usage ? `${usage.prompt_tokens} in, ${usage.completion_tokens} out` : "–"],
      ["cost", "Cost", dollars(result.cost_micros)],
      ["route", "Provider", result.provider ? `${result.provider}${attempts(result.attempts)}` : "–"],
    ];
    if (result.cache) figures.push(["cache", "Cache", result.cache]);
    return make(
      "dl",
      { class: "pg-figures" },
      ...figures.map(([name, title, value]) => make("div", { "data-figure": name }, make("dt", {}, title), make("dd", {}, value))),
    );
  }

  #foot(result) {
    const foot = make("div", { class: "pg-bar" });
    if (result.request_id) {
      foot.append(make("a", { href: `${this.recordsUrl}?q=${result.request_id}`, title: result.request_id }, "Usage record"));
    }
    foot.append(make("span", { class: "pg-spring" }));
    if (!result.error && result.message?.content) {
      const reply = make("button", { type: "button", class: "pg-button pg-quiet" }, "Continue from here");
      reply.addEventListener("click", () => this.onReply(result.message));
      foot.append(reply);
    }
    const details = make("details", {}, make("summary", {}, "Response"), make("pre", { class: "pg-mono", tabindex: "0" }, JSON.stringify(result, null, 2)));
    return make("div", {}, foot, details);
  }
}

const attempts = (count) => (count > 1 ? `, ${count} attempts` : "");

/** Mark the quickest and the cheapest of several answers, where one is. */
export function praiseBest(cards) {
  const done = cards.filter((card) => card.result && !card.result.error);
  if (done.length < 2) return;
  for (const [name, figure] of [["first", "first_token_ms"], ["latency", "latency_ms"], ["cost", "cost_micros"]]) {
    const values = done.map((card) => card.result[figure]).filter((value) => value !== null);
    const [best, second] = values.sort((one, other) => one - other);
    // A lead of less than a tenth is chance.
    if (second !== undefined && best < second * 0.9) done.find((card) => card.result[figure] === best).praise(name);
  }
}

/** Fill the table of how much each two answers differ. */
export function showDifferences(place, differences) {
  place.hidden = !differences.length;
  const head = ["Answers", "In common", "Only in the first", "Only in the second"].map((title) => make("th", { scope: "col" }, title));
  const rows = differences.map((one) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, `${one.first} and ${one.second}`),
      make("td", {}, `${Math.round(one.similarity * 100)} %`),
      make("td", {}, `${one.words_only_in_first} words`),
      make("td", {}, `${one.words_only_in_second} words`),
    ),
  );
  place.replaceChildren(
    make("table", {}, make("caption", {}, "How much the answers differ"), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
  );
}
