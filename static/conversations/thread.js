import { api, ApiError, newKey } from "./api.js";
import { Observable } from "./observable.js";
import { followRun } from "./run.js";

/** An answer that is being written. `isLive` is false while its connection is broken. */
class Run {
  text = "";
  isLive = true;
  isStopping = false;
  #own = new AbortController();

  constructor({ id = null, answerId = null, until = null } = {}) {
    this.id = id;
    this.answerId = answerId;
    this.signal = until ? AbortSignal.any([until, this.#own.signal]) : this.#own.signal;
  }

  giveUp() {
    this.#own.abort();
  }
}

const notSent = () => new ApiError({ status: 0, code: "not_sent", message: "The message was not sent." });

/**
 * One conversation as the page shows it: the active branch from its first message to its last, and the answer that is
 * being written. `host` hears about changes that matter beyond the thread: conversationChanged(thread), answered(thread, message),
 * refused(thread, unsent), titled(conversation).
 */
export class Thread extends Observable {
  conversation = null;
  messages = [];
  isLoading = false;
  error = null;
  run = null;
  unsent = null; // {content, parentId, error}: what the server has not taken yet
  #host;
  #id;
  #controller = new AbortController();
  #epilogue = null; // what is still heard after an answer's end

  constructor(host, id = null) {
    super();
    this.#host = host;
    this.#id = id;
  }

  get id() {
    return this.conversation?.id || this.#id;
  }

  get isBusy() {
    return this.run !== null;
  }

  get isEmpty() {
    return !this.messages.length && !this.unsent;
  }

  close() {
    Promise.resolve(this.#epilogue).finally(() => this.#controller.abort());
  }

  /** Load conversation and active branch; go on with an answer that is being written. */
  async load() {
    if (!this.id || this.isBusy) return;
    const { signal } = this.#controller;
    Object.assign(this, { isLoading: true, error: null });
    this.changed();
    try {
      const [conversation, branch] = await Promise.all([api.conversation(this.id, signal), api.activeBranch(this.id, signal)]);
      this.messages = branch.items;
      this.#meet(conversation);
      const running = this.messages.findLast((message) => message.status === "running" && message.run_id);
      if (running) this.#attach(running);
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.isLoading = false;
    this.changed();
  }

  /** Say something at the end of the branch. */
  send(content, model) {
    const parentId = this.messages.at(-1)?.id;
    return this.#say({ content, model, parentId });
  }

  /** Say something else instead of an earlier message: a new branch beside it. */
  edit(message, content, model) {
    this.messages = this.messages.slice(0, this.messages.findIndex((item) => item.id === message.id));
    return this.#say({ content, model, parentId: message.parent_id });
  }

  /** Send what was refused again, as the same request: if the first one did arrive after all, it is not sent twice. */
  resend() {
    const { content, model, parentId, key, error } = this.unsent;
    // A refusal was an answer; asking anew needs a new key, or the refusal would be repeated.
    return this.#say({ content, model, parentId, key: error?.status ? undefined : key });
  }

  /** Give the refused message back to the composer; return its text. */
  takeBack() {
    const { content } = this.unsent;
    this.unsent = null;
    this.changed();
    if (this.id) this.load();
    return content;
  }

  async #say({ content, model, parentId, key = newKey() }) {
    if (this.isBusy) return;
    this.unsent = { content, model, parentId, key, error: null };
    const body = {
      conversation_id: this.id,
      content,
      ...(model && { model }),
      ...(parentId === undefined ? {} : { parent_id: parentId }),
    };
    await this.#follow({
      open: (runId, after, signal) => (runId ? api.followRun(runId, { after, signal }) : api.startRun(body, { key, signal })),
    });
  }

  /** Answer again, beside the present answer. */
  async regenerate(message, model) {
    if (this.isBusy) return;
    this.run = new Run();
    this.changed();
    try {
      const { message: answer } = await api.regenerate(this.id, message.id, { model, key: newKey() });
      this.run = null;
      this.messages = this.messages.slice(0, this.messages.findIndex((item) => item.id === message.id));
      this.#put(answer);
      this.#attach(answer);
    } catch (error) {
      this.run = null;
      this.changed();
      throw error;
    }
  }

  /** Show another branch: the sibling and what followed it. */
  async showSibling(id) {
    const conversation = await this.#host.patch(this.conversation, { active_message_id: id });
    this.messages = (await api.activeBranch(this.id, this.#controller.signal)).items;
    this.#meet(conversation);
    const running = this.messages.findLast((message) => message.status === "running" && message.run_id);
    if (running) this.#attach(running);
  }

  /** Stop the answer; what came stays. Before the server named the run, the wish is kept until it does. */
  async stop() {
    if (!this.run || this.run.isStopping) return;
    this.run.isStopping = true;
    this.changed();
    if (this.run.id) await this.#cancel();
    else if (!this.run.isLive) this.run.giveUp();
  }

  async #cancel() {
    try {
      this.#put((await api.cancelRun(this.run.id)).message);
    } catch (error) {
      if (this.run) this.run.isStopping = false;
      this.changed();
      throw error;
    }
  }

  #attach(answer) {
    // From the first event on: the server keeps them all, and what the message holds so far is only as new as its last save.
    this.#follow({ runId: answer.run_id, answer, open: (runId, after, signal) => api.followRun(runId, { after, signal }) });
  }

  async #follow({ open, runId = null, answer = null }) {
    const run = new Run({ id: runId, answerId: answer?.id, until: this.#controller.signal });
    this.run = run;
    this.changed();
    try {
      await followRun({
        open: (id, after) => open(id, after, run.signal),
        runId,
        signal: run.signal,
        apply: (event, data) => this.#apply(run, event, data),
        linked: (isLive) => this.#linked(run, isLive),
        ended: (rest) => (this.#epilogue = rest),
      });
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      await this.#failed(run, run.signal.aborted ? notSent() : error);
    }
    if (this.run === run) this.run = null;
    this.changed();
  }

  #linked(run, isLive) {
    if (run.isLive === isLive) return;
    run.isLive = isLive;
    this.changed();
  }

  #apply(run, event, data) {
    if (event === "run.started") this.#started(run, data);
    else if (event === "delta") this.#grow(run, data.text);
    else if (event === "conversation.updated" && this.run !== run) this.#host.titled(data.conversation);
    else if (event === "conversation.updated") this.#meet(data.conversation);
    else if (data.answer) this.#finished(data);
    this.changed();
  }

  #started(run, { run_id: id, conversation, message, answer }) {
    Object.assign(run, { id, answerId: answer.id });
    this.unsent = null;
    if (message) this.#put(message);
    if (!this.messages.some((item) => item.id === answer.id)) this.#put(answer);
    this.#meet(conversation, { toTop: true });
    if (run.isStopping) this.#cancel().catch(() => {});
  }

  #grow(run, text) {
    run.text += text;
    const answer = this.messages.find((item) => item.id === run.answerId);
    // While the beginning is being replayed after a reload, keep showing the longer text that the server had saved.
    if (answer && run.text.length >= answer.content.length) this.#put({ ...answer, content: run.text });
  }

  #finished({ answer, error }) {
    const final = error && !answer.error ? { ...answer, error } : answer;
    this.#put(final);
    this.#host.answered(this, final);
  }

  async #failed(run, error) {
    if (!run.id) {
      this.unsent = { ...this.unsent, error };
      this.#host.refused(this, this.unsent);
      return;
    }
    // The stream is gone (its events expired, or the server stays away): the message itself says how it ended.
    const answer = this.messages.find((item) => item.id === run.answerId);
    const stored = await api.message(this.id, run.answerId).catch(() => null);
    if (stored && stored.status !== "running") this.#finished({ answer: stored });
    else if (answer) this.#put({ ...answer, status: "interrupted", error: { code: error.code, message: error.message } });
  }

  #put(message) {
    const index = this.messages.findIndex((item) => item.id === message.id);
    this.messages = index < 0 ? [...this.messages, message] : this.messages.with(index, message);
    this.changed();
  }

  #meet(conversation, options) {
    // A replayed stream tells how the conversation was when the answer began.
    if (!this.conversation || conversation.version >= this.conversation.version) this.conversation = conversation;
    this.#host.conversationChanged(this, options);
    this.changed();
  }

  /** Take in a change that was made elsewhere on the page (a new title). */
  rename(conversation) {
    if (this.conversation && conversation.version < this.conversation.version) return;
    this.conversation = conversation;
    this.changed();
  }
}

/** Return the sentence a person reads for an error, with what to do about it. */
export function explain(error) {
  if (!(error instanceof ApiError)) return error?.message || "Something went wrong.";
  if (error.status === 0) return `${error.message} Check your connection; nothing is lost.`;
  return error.message;
}
