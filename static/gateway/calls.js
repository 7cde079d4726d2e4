/** The playground's requests: the models there are, one prompt to some of them, and the analysis of a text. */

const ROOT = "/api/v3";

/** A refusal in words; `fields` has those that concern one field, by its name. */
export class Refusal extends Error {
  constructor(words, fields = {}) {
    super(words);
    this.fields = fields;
  }
}

/** Return the models that the person may chat with. */
export async function fetchModels() {
  const response = await send(`${ROOT}/models`, { method: "GET" });
  const { items } = await response.json();
  return items.filter((model) => model.capabilities.includes("chat"));
}

/** Yield `[event, data]` of a comparison as they come. Throws Refusal, or AbortError when `signal` fires. */
export async function* compare(body, signal) {
  yield* readEvents(await send(`${ROOT}/models/compare`, { method: "POST", body: JSON.stringify(body), signal }));
}

/** Yield `[event, data]` of an analysis as they come; `fields` are the form's. Throws as `compare` does. */
export async function* analyse(url, fields, signal) {
  yield* readEvents(await send(url, { method: "POST", body: fields, signal }));
}

async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const found = /^event: (.+)\ndata: (.+)$/.exec(block);
        if (found) yield [found[1], JSON.parse(found[2])];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function send(url, options) {
  let response;
  try {
    // A page that wants a login first leads there; what is asked for here never leads anywhere else.
    response = await fetch(url, { ...options, credentials: "same-origin", redirect: "manual", headers: headersOf(options) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.");
  }
  if (response.ok) return response;
  if (response.type === "opaqueredirect") throw new Refusal("Your session has ended. Log in again in another tab, then try once more.");
  const problem = await response.json().catch(() => ({}));
  const fields = Object.values(problem.errors || {}).flat().join(" ");
  throw new Refusal([problem.detail || `The server answered ${response.status}.`, fields].filter(Boolean).join(" "), problem.errors);
}

function headersOf({ method, body }) {
  if (method === "GET") return { Accept: "application/json" };
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  return {
    Accept: "text/event-stream",
    ...(typeof body === "string" ? { "Content-Type": "application/json" } : {}),
    "X-CSRFToken": cookie ? decodeURIComponent(cookie.slice(10)) : "",
  };
}
