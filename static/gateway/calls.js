/** The playground's requests: the models there are, and one prompt to some of them. */

const ROOT = "/api/v3";

/** A refusal in words. */
export class Refusal extends Error {}

/** Return the models that the person may chat with. */
export async function fetchModels() {
  const response = await send("/models", { method: "GET" });
  const { items } = await response.json();
  return items.filter((model) => model.capabilities.includes("chat"));
}

/** Yield `[event, data]` of a comparison as they come. Throws Refusal, or AbortError when `signal` fires. */
export async function* compare(body, signal) {
  const response = await send("/models/compare", { method: "POST", body: JSON.stringify(body), signal });
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

async function send(path, options) {
  let response;
  try {
    response = await fetch(ROOT + path, { ...options, credentials: "same-origin", headers: headersOf(options.method) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server cannot be reached.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const fields = Object.values(problem.errors || {}).flat().join(" ");
  throw new Refusal([problem.detail || `The server answered ${response.status}.`, fields].filter(Boolean).join(" "));
}

function headersOf(method) {
  if (method === "GET") return { Accept: "application/json" };
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  return {
    Accept: "text/event-stream",
    "Content-Type": "application/json",
    "X-CSRFToken": cookie ? decodeURIComponent(cookie.slice(10)) : "",
  };
}
