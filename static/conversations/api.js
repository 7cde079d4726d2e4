/** The REST interface as the page uses it: one function per operation, every refusal an ApiError. */

const ROOT = "/api/v3";

/** A refusal (RFC 9457) or a failure to reach the server (`status` 0). `retryAfter` is in seconds, null when unsaid. */
export class ApiError extends Error {
  constructor({ status, code, message, retryAfter = null, requestId = "" }) {
    super(message);
    Object.assign(this, { status, code, retryAfter, requestId });
  }

  /** Tell whether the same request may succeed by itself a little later. */
  get isPassing() {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** Tells the page that the server answers again, does not answer, or no longer knows the session. */
export const signals = new EventTarget();

function csrfToken() {
  // The cookie is newer than the page when one logged in again in another tab.
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  return cookie ? decodeURIComponent(cookie.slice(10)) : document.querySelector('meta[name="csrf-token"]').content;
}

/** Return the ApiError of a problem document; tell the page when it concerns more than one request. */
export function refuse(problem, { status, retryAfter = null, requestId = "" }) {
  const error = new ApiError({
    status,
    code: problem.code || "unknown",
    message: problem.detail || problem.title || `The server answered ${status}.`,
    retryAfter,
    requestId: problem.request_id || requestId,
  });
  if (status === 401) signals.dispatchEvent(new Event("session-expired"));
  signals.dispatchEvent(new Event(error.isPassing ? "unreachable" : "reachable"));
  return error;
}

async function send(method, path, { body, headers = {}, signal, accept = "application/json" } = {}) {
  let response;
  try {
    response = await fetch(path.startsWith("/") ? ROOT + path : path, {
      method,
      signal,
      credentials: "same-origin",
      headers: {
        Accept: accept,
        ...(method === "GET" ? {} : { "X-CSRFToken": csrfToken() }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    signals.dispatchEvent(new Event("unreachable"));
    throw new ApiError({ status: 0, code: "unreachable", message: "The server cannot be reached." });
  }
  if (response.ok) {
    signals.dispatchEvent(new Event("reachable"));
    return response;
  }
  const problem = await response.json().catch(() => ({}));
  throw refuse(problem, {
    status: response.status,
    retryAfter: Number(response.headers.get("Retry-After")) || null,
    requestId: response.headers.get("X-Request-Id") || "",
  });
}

async function json(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

// A page of another origin's making would be refused by the policy anyway; keep path and query only.
const localPath = (url) => {
  const { pathname, search } = new URL(url, location.href);
  return pathname.replace(ROOT, "") + search;
};

const stream = (method, path, options) => send(method, path, { ...options, accept: "text/event-stream" });

/** Return a random key for requests that must have one effect. `randomUUID` would need https. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const api = {
  models: () => json("GET", "/models"),

  conversations: ({ search = "", next = null, signal } = {}) =>
    json("GET", next ? localPath(next) : `/conversations?${new URLSearchParams({ page_size: 40, ...(search && { search }) })}`, { signal }),
  conversation: (id, signal) => json("GET", `/conversations/${id}`, { signal }),
  patchConversation: ({ id, version }, changes) =>
    json("PATCH", `/conversations/${id}`, { body: changes, headers: { "If-Match": `"${version}"` } }),
  deleteConversation: (id) => json("DELETE", `/conversations/${id}`),
  restoreConversation: (id) => json("POST", `/conversations/${id}/restore`, { headers: { "Idempotency-Key": newKey() } }),

  summary: (id) => json("GET", `/conversations/${id}/summary`), // null where there is none yet
  summarize: (id) => json("POST", `/conversations/${id}/summarize`),

  activeBranch: (id, signal) => json("GET", `/conversations/${id}/messages?branch=active`, { signal }),
  message: (conversationId, id) => json("GET", `/conversations/${conversationId}/messages/${id}`),
  regenerate: (conversationId, id, { model, key }) =>
    json("POST", `/conversations/${conversationId}/messages/${id}/regenerate`, { body: model ? { model } : {}, headers: { "Idempotency-Key": key } }),

  startRun: (body, { key, signal }) => stream("POST", "/chat/stream?with_title=true", { body, signal, headers: { "Idempotency-Key": key } }),
  followRun: (runId, { after, signal }) => stream("GET", `/chat/${runId}/stream?after=${after}&with_title=true`, { signal }),
  cancelRun: (runId) => json("POST", `/chat/${runId}/cancel`, { headers: { "Idempotency-Key": newKey() } }),
};
