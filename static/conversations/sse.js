/** Server-sent events over fetch() (EventSource can neither POST nor send headers). */

/** Cuts text into events; keeps what is incomplete for the next call. Follows the HTML standard's field rules. */
export class EventParser {
  #rest = "";

  feed(text) {
    // A lone CR at the end may be the first half of CRLF: leave it for the next chunk.
    const all = this.#rest + text;
    const heldBack = all.endsWith("\r") ? "\r" : "";
    const blocks = all.slice(0, all.length - heldBack.length).replace(/\r\n?/g, "\n").split("\n\n");
    this.#rest = blocks.pop() + heldBack;
    return blocks.map(parseBlock).filter(Boolean);
  }
}

function parseBlock(block) {
  const event = { id: "", event: "message", data: "" };
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0 || !line) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "id" || field === "event") event[field] = value;
  }
  if (!data.length) return null;
  event.data = data.join("\n");
  return event;
}

/**
 * Yield the events of a response as they come. Throws when the connection breaks, or after `silence` milliseconds
 * without a byte: the server pings every 15 s, so a longer silence means a dead connection that nobody closed.
 */
export async function* readEvents(response, { silence = 45_000 } = {}) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await withDeadline(reader.read(), silence);
      if (done) return;
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function withDeadline(promise, milliseconds) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("The stream fell silent.")), milliseconds);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}
