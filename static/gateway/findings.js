/** The findings of one run, each in the form that fits it. Texts are only ever set as text. */

import { dollars, make, seconds } from "./results.js";

const percent = (share) => `${Math.round(share * 100)} %`;
const nothing = (words) => [make("p", { class: "pg-faint" }, words)];

/** Return an element whose style has a length in percent: the policy forbids style attributes, not this. */
function sized(property, share, attributes) {
  const element = make("span", attributes);
  element.style.setProperty(property, `${(share * 100).toFixed(1)}%`);
  return element;
}

function bar(share, name, value, { isStrong = false } = {}) {
  const track = make("span", { class: "an-track", "aria-hidden": "true" }, sized("width", share, { class: "an-fill", ...(isStrong ? { "data-strong": "" } : {}) }));
  return make("li", { class: "an-bar" }, make("span", { class: "an-name" }, name), make("span", { class: "an-value" }, value), track);
}

function showScale({ label, score }) {
  const words = `${score > 0 ? "+" : score < 0 ? "−" : ""}${Math.abs(score).toFixed(2)}`;
  return [
    make("p", { class: "an-verdict" }, make("b", {}, label[0].toUpperCase() + label.slice(1)), make("span", {}, words)),
    make(
      "div",
      { class: "an-scale", role: "img", "aria-label": `${words} on a scale from -1, negative, to 1, positive` },
      make("span", { class: "an-rail" }, make("span", { class: "an-middle" }), sized("left", (score + 1) / 2, { class: "an-point", "data-label": label })),
      make("span", { class: "an-ends" }, make("span", {}, "−1"), make("span", {}, "0"), make("span", {}, "1")),
    ),
  ];
}

function showModeration({ is_flagged, categories, scores }) {
  const found = Object.entries(scores)
    .filter(([, score]) => score > 0)
    .sort(([, one], [, other]) => other - one);
  const rest = Object.keys(scores).length - found.length;
  return [
    make("p", { class: "an-verdict" }, make("b", { class: "an-flag", "data-flagged": String(is_flagged) }, is_flagged ? "Flagged" : "Not flagged")),
    make("ul", { class: "an-bars" }, ...found.map(([name, score]) => bar(score, name, categories.includes(name) ? `${score.toFixed(2)}, flagged` : score.toFixed(2), { isStrong: categories.includes(name) }))),
    ...nothing(found.length ? `${rest} other categories score 0.` : `All ${rest} categories score 0.`),
  ];
}

const SHOWN = {
  summary: ({ text }) => (text ? [make("p", { class: "an-text" }, text)] : nothing("Nothing to sum up.")),
  title: ({ text }) => [make("p", { class: "an-text an-title" }, text)],
  tags: ({ tags }) => (tags.length ? [make("ul", { class: "an-chips" }, ...tags.map((tag) => make("li", {}, tag)))] : nothing("No tags found.")),
  sentiment: showScale,
  topics: ({ topics }) =>
    topics.length ? [make("ul", { class: "an-bars" }, ...topics.map(({ name, weight }) => bar(weight, name, percent(weight))))] : nothing("No topics found."),
  entities: ({ kinds }) =>
    kinds.length
      ? [make("dl", { class: "an-kinds" }, ...kinds.flatMap(({ kind, names }) => [make("dt", {}, kind), make("dd", {}, make("ul", { class: "an-chips" }, ...names.map((name) => make("li", {}, name))))]))]
      : nothing("The text names nothing."),
  moderation: showModeration,
};

/** One analysis, from the moment it is asked for. */
export class FindingCard {
  constructor(analysis, name) {
    this.analysis = analysis;
    this.name = name;
    this.isDone = false;
    this.hasFailed = false;
    this.state = make("span", { class: "pg-state", "data-state": "running" }, "running");
    const heading = make("h2", { id: `an-${analysis}` }, name);
    this.element = make(
      "article",
      { class: "pg-card pg-result an-result", "data-analysis": analysis, "aria-labelledby": heading.id, "aria-busy": "true" },
      make("header", {}, heading, this.state),
    );
  }

  finish(result) {
    this.isDone = true;
    this.hasFailed = Boolean(result.error);
    this.#end(result.error ? "failed" : "done", result.error ? "failed" : "ready");
    const { error, finding } = result;
    if (error) this.element.append(make("p", { class: "pg-notice" }, error.detail || error.title));
    if (error && finding) this.element.append(make("p", { class: "pg-faint" }, "The built-in method finds instead:"));
    if (finding) this.element.append(make("div", { class: "an-body" }, ...SHOWN[this.analysis](finding)));
    if (!error && result.reason && result.reason !== "asked") {
      this.element.append(make("p", { class: "pg-faint" }, `Found without a model: ${result.reason_in_words}.`));
    }
    this.element.append(this.#figures(result));
  }

  /** Say that nobody waits for it any more. */
  stop() {
    if (!this.isDone) this.#end("failed", "stopped");
  }

  #end(state, words) {
    this.element.setAttribute("aria-busy", "false");
    this.state.dataset.state = state;
    this.state.textContent = words;
  }

  #figures({ method, model, cost_micros, latency_ms }) {
    const found = { model: `Model ${model}`, fallback: "Built in" }[method] || "–";
    const figures = [["Found by", found], ["Cost", dollars(cost_micros)], ["Time", seconds(latency_ms)]];
    return make("dl", { class: "pg-figures" }, ...figures.map(([title, value]) => make("div", {}, make("dt", {}, title), make("dd", {}, value))));
  }
}
