import { ApiError, refuse } from "./api.js";
import { readEvents } from "./sse.js";

const TERMINAL = new Set(["run.completed", "run.failed", "run.cancelled", "run.interrupted"]);
const PATIENCE = 12;

/**
 * Follow one running answer to its end, over as many connections as it takes. Every event reaches `apply` exactly once
 * and in order: the server numbers them, a reconnect asks for what comes after the last one seen, repeats are dropped.
 *
 * `open(runId, after)` makes a connection; `runId` is null until the first event named it. `linked(isLive)` hears
 * about broken and mended connections, `ended(rest)` about what is still heard after the end: a promise that the name
 * the conversation gets, if any, has reached `apply`. Throws ApiError when the server refuses, AbortError when `signal` aborts.
 */
export async function followRun({ open, runId = null, apply, linked, ended, signal }) {
  let seen = 0;
  let failures = 0;
  for (;;) {
    let events = null;
    try {
      const response = await open(runId, seen);
      linked(true);
      events = readEvents(response);
      for (let step = await events.next(); !step.done; step = await events.next()) {
        const { id, event, data } = step.value;
        signal.throwIfAborted();
        // What has no number (a new title, a refusal) is about now and not part of the answer.
        if (id && Number(id) <= seen) continue;
        const payload = JSON.parse(data);
        if (event === "error") throw refuse(payload, payload);
        seen = Number(id) || seen;
        failures = 0;
        if (event === "run.started") runId = payload.run_id;
        apply(event, payload);
        if (TERMINAL.has(event)) {
          ended(hearOut(events, apply));
          events = null;
          return;
        }
      }
      signal.throwIfAborted();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") throw error;
      if (error instanceof ApiError && !error.isPassing) throw error;
      if (failures >= PATIENCE) throw error instanceof ApiError ? error : lostConnection();
    } finally {
      events?.return();
    }
    failures += 1;
    linked(false);
    await pause(Math.min(8000, 250 * 2 ** (failures - 1)), signal);
  }
}

// The answer is complete; what breaks here is a name that the next visit shows.
async function hearOut(events, apply) {
  try {
    for await (const { id, event, data } of events) {
      if (!id && event !== "error") apply(event, JSON.parse(data));
    }
  } catch {
    // See above.
  }
}

function lostConnection() {
  return new ApiError({ status: 0, code: "unreachable", message: "The connection to the answer was lost." });
}

// Ends early when the network comes back.
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const finish = (settle, reason) => {
      clearTimeout(timer);
      removeEventListener("online", goOn);
      signal.removeEventListener("abort", stop);
      settle(reason);
    };
    const goOn = () => finish(resolve);
    const stop = () => finish(reject, signal.reason);
    const timer = setTimeout(goOn, milliseconds);
    addEventListener("online", goOn, { once: true });
    signal.addEventListener("abort", stop, { once: true });
  });
}
