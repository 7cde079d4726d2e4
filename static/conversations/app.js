import { api, signals } from "./api.js";
import { plainText } from "./markdown.js";
import { Models } from "./models.js";
import { Observable } from "./observable.js";
import { Shelf } from "./shelf.js";
import { explain, Thread } from "./thread.js";

const LONGEST_ANNOUNCEMENT = 1200;
const DRAFTS = "portico.drafts";

/** What the whole page knows: where we are, which conversations are open, and what is to be said to the reader. */
export class App extends Observable {
  models = new Models();
  shelf = new Shelf();
  thread = null;
  isReachable = navigator.onLine;
  announcement = "";
  toast = null; // {text, action: {label, run}, isError}
  #threads = new Map();
  #drafts = readDrafts();
  #toastTimer = 0;
  #probe = 0;
  #loginUrl;

  constructor({ loginUrl, userName }) {
    super();
    this.userName = userName;
    this.#loginUrl = loginUrl;
    signals.addEventListener("reachable", () => this.#reached(true));
    signals.addEventListener("unreachable", () => this.#reached(false));
    signals.addEventListener("session-expired", () => this.#logIn());
    addEventListener("online", () => this.#knock());
    addEventListener("offline", () => this.#reached(false));
    addEventListener("popstate", () => this.show(idInPath(), { isNew: false }));
  }

  async start() {
    this.show(idInPath(), { isNew: false });
    await Promise.all([this.models.load(), this.shelf.load()]);
    if (this.thread.conversation) this.models.select(this.thread.conversation.model, { isChoice: false });
  }

  /** Show a conversation, or an empty one for null. A thread whose answer is being written stays open behind. */
  show(id, { isNew = true } = {}) {
    if (isNew && id !== (this.thread?.id ?? null)) history.pushState(null, "", id ? `/chat/${id}` : "/chat");
    const previous = this.thread;
    const known = id && this.#threads.get(id);
    this.thread = known || new Thread(this, id);
    if (id && !known) {
      this.#threads.set(id, this.thread);
      this.thread.load();
    }
    if (previous && previous !== this.thread && !previous.isBusy) {
      if (previous.unsent) this.keepDraft(previous, previous.unsent.content);
      this.#close(previous);
    }
    if (this.thread.conversation) this.models.select(this.thread.conversation.model, { isChoice: false });
    this.#setTitle();
    this.changed();
  }

  isAnswering(id) {
    return Boolean(this.#threads.get(id)?.isBusy);
  }

  #close(thread) {
    thread.close();
    if (thread.id) this.#threads.delete(thread.id);
  }

  conversationChanged(thread, options) {
    const { conversation } = thread;
    if (!this.#threads.has(conversation.id)) this.#threads.set(conversation.id, thread);
    this.shelf.upsert(conversation, options);
    if (thread !== this.thread) return;
    if (idInPath() !== conversation.id) history.replaceState(null, "", `/chat/${conversation.id}`);
    if (!thread.isBusy) this.models.select(conversation.model, { isChoice: false });
    this.#setTitle();
    this.changed();
  }

  answered(thread, message) {
    if (thread === this.thread) {
      const text = plainText(message.content).slice(0, LONGEST_ANNOUNCEMENT);
      this.announce(message.status === "complete" ? `Answer: ${text}` : `The answer ended early. ${message.error?.message || ""}`);
    } else {
      this.#close(thread);
      this.notify(`“${shortTitle(thread.conversation)}” has an answer.`, { label: "Show", run: () => this.show(thread.id) });
    }
    this.changed();
  }

  /** A model named a conversation, which may no longer be the one that is shown. */
  titled(conversation) {
    this.shelf.renew(conversation);
    this.#threads.get(conversation.id)?.rename(conversation);
    this.#setTitle();
    this.changed();
  }

  /** What was refused while the reader was elsewhere goes back into that conversation's composer. */
  refused(thread, { content, error }) {
    if (thread === this.thread) {
      this.announce(`Not sent. ${explain(error)}`);
      return;
    }
    this.keepDraft(thread, content);
    this.#close(thread);
    this.notify(`A message was not sent and is kept as a draft. ${explain(error)}`, null, { isError: true });
  }

  patch(conversation, changes) {
    return this.shelf.patch(conversation, changes);
  }

  async rename(conversation, title) {
    await this.attempt(async () => {
      const changed = await this.shelf.patch(conversation, { title });
      this.#threads.get(changed.id)?.rename(changed);
      this.#setTitle();
      this.announce(`Renamed to ${changed.title}.`);
    });
  }

  async remove(conversation) {
    await this.attempt(async () => {
      if (this.thread.id === conversation.id) this.show(null);
      const restore = await this.shelf.remove(conversation);
      this.notify(`Deleted “${shortTitle(conversation)}”.`, { label: "Undo", run: () => this.attempt(restore) });
    });
  }

  /** Run an action of the reader's; tell them when it fails. */
  async attempt(action) {
    try {
      return await action();
    } catch (error) {
      if (error.name !== "AbortError") this.notify(explain(error), null, { isError: true });
      return undefined;
    }
  }

  notify(text, action = null, { isError = false } = {}) {
    clearTimeout(this.#toastTimer);
    this.toast = { text, action, isError };
    this.#toastTimer = setTimeout(() => this.dismissToast(), action || isError ? 9000 : 4000);
    this.changed();
  }

  dismissToast() {
    clearTimeout(this.#toastTimer);
    this.toast = null;
    this.changed();
  }

  /** Say something to a screen reader, once and politely. */
  announce(text) {
    this.announcement = text;
    this.changed();
  }

  draftOf(thread) {
    return this.#drafts[thread?.id || "new"] || "";
  }

  keepDraft(thread, text) {
    const key = thread?.id || "new";
    if (text) this.#drafts[key] = text;
    else delete this.#drafts[key];
    try {
      sessionStorage.setItem(DRAFTS, JSON.stringify(this.#drafts));
    } catch {
      // Kept in memory only.
    }
  }

  #setTitle() {
    const title = this.thread.conversation?.title;
    document.title = title ? `${title} · Portico` : "Chat · Portico";
  }

  #reached(isReachable) {
    if (!isReachable && !this.#probe) this.#probe = setTimeout(() => this.#knock(), 3000);
    if (this.isReachable === isReachable) return;
    this.isReachable = isReachable;
    this.changed();
    if (isReachable) this.#recover();
  }

  // Ask something small until there is an answer; the answer itself raises "reachable".
  #knock() {
    clearTimeout(this.#probe);
    this.#probe = 0;
    if (!this.isReachable) api.models().catch(() => {});
  }

  #recover() {
    clearTimeout(this.#probe);
    this.#probe = 0;
    if (this.models.error) this.models.load();
    if (this.shelf.error) this.shelf.load();
    if (this.thread.error) this.thread.load();
  }

  // Drafts outlive the visit to the login page.
  #logIn() {
    location.assign(`${this.#loginUrl}?next=${encodeURIComponent(location.pathname)}`);
  }
}

function shortTitle({ title }) {
  if (!title) return "New chat";
  return title.length > 40 ? `${title.slice(0, 39).trimEnd()}…` : title;
}

function idInPath() {
  return location.pathname.match(/^\/chat\/([^/]+)/)?.[1] ?? null;
}

function readDrafts() {
  try {
    return JSON.parse(sessionStorage.getItem(DRAFTS)) || {};
  } catch {
    return {};
  }
}
