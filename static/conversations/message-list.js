import { html, nothing } from "lit";
import { repeat } from "lit/directives/repeat.js";

import { Element } from "./element.js";
import { icons } from "./icons.js";
import { Observes } from "./observable.js";
import { explain } from "./thread.js";
import "./message-view.js";
import "./welcome-view.js";

const NEAR_THE_END = 24; // px

/** The messages of the open thread. Follows a growing answer only while the reader is at the end. */
export class MessageList extends Element {
  static properties = { app: { attribute: false }, isAtEnd: { state: true } };
  #thread = null;
  #lastTop = 0;

  constructor() {
    super();
    this.isAtEnd = true;
    new Observes(this, () => [this.app, this.app?.thread]);
  }

  firstUpdated() {
    // Highlighted code, fonts and the phone's keyboard change heights without a rendering of ours.
    new ResizeObserver(() => this.#follow()).observe(this.querySelector(".messages-column"));
    new ResizeObserver(() => this.#follow()).observe(this.#scroller);
  }

  get #scroller() {
    return this.querySelector(".messages-scroll");
  }

  willUpdate() {
    if (this.app.thread === this.#thread) return;
    this.#thread = this.app.thread;
    this.isAtEnd = true;
  }

  updated() {
    this.#follow();
  }

  #follow() {
    if (this.isAtEnd) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const gap = scrollHeight - scrollTop - clientHeight;
    // Growing content moves the end away without a scroll, and we only ever scroll down: a move up is the reader's.
    if (gap <= NEAR_THE_END) this.isAtEnd = true;
    else if (scrollTop < this.#lastTop) this.isAtEnd = false;
    this.#lastTop = scrollTop;
  }

  #onWheel(event) {
    if (event.deltaY < 0 && this.#scroller.scrollTop > 0) this.isAtEnd = false;
  }

  jumpToEnd() {
    this.isAtEnd = true;
    this.#follow();
    this.#scroller.focus();
  }

  /** Open the editor of the reader's last message. */
  editLast() {
    const last = [...this.querySelectorAll("message-view")].findLast((view) => view.message.role === "user");
    if (last && !this.app.thread.isBusy) last.edit();
  }

  render() {
    const { thread } = this.app;
    return html`
      <div class="messages-scroll" tabindex="-1" @scroll=${this.#onScroll} @wheel=${{ handleEvent: (event) => this.#onWheel(event), passive: true }}>
        <div class="messages-column">${this.#renderContent(thread)}</div>
      </div>
      ${this.isAtEnd
        ? nothing
        : html`<button class="button icon jump" type="button" title="Jump to newest" aria-label="Jump to newest" @click=${this.jumpToEnd}>${icons.down}</button>`}
    `;
  }

  #renderContent(thread) {
    if (thread.error) return this.#renderError(thread);
    if (thread.isLoading && thread.isEmpty) return html`<p class="loading" role="status">Loading the conversation…</p>`;
    if (thread.isEmpty) return html`<welcome-view .app=${this.app}></welcome-view>`;
    return html`
      <ol class="messages-list" aria-label="Messages">
        ${repeat(
          thread.messages.filter((message) => message.role !== "system"),
          (message) => message.id,
          (message) => html`<li>
            <message-view .app=${this.app} .message=${message} ?isRunning=${thread.run?.answerId === message.id}
              ?isLive=${thread.run?.isLive ?? false} ?isBusy=${thread.isBusy}
              .author=${message.model}></message-view>
          </li>`,
        )}
        ${thread.unsent ? html`<li>${this.#renderUnsent(thread)}</li>` : nothing}
      </ol>
    `;
  }

  #renderUnsent(thread) {
    const { content, error } = thread.unsent;
    return html`
      <article class="message user unsent" aria-label="You">
        <div class="bubble">${content}</div>
        ${error
          ? html`<div class="alert danger ending">
              <p>${icons.warning} ${explain(error)}</p>
              <span class="row">
                <button class="button small" type="button" @click=${() => this.dispatchEvent(new CustomEvent("take-back", { detail: thread.takeBack() }))}>Edit</button>
                <button class="button small primary" type="button" @click=${() => this.app.attempt(() => thread.resend())}>Try again</button>
              </span>
            </div>`
          : html`<p class="small faint sending" role="status">${thread.run?.isLive === false ? "Connection lost, trying again…" : "Sending…"}</p>`}
      </article>
    `;
  }

  #renderError(thread) {
    const isMissing = thread.error.status === 404;
    return html`
      <div class="blank">
        <h2>${isMissing ? "There is no such conversation" : "The conversation could not be loaded"}</h2>
        <p class="faint">${isMissing ? "It may have been deleted, or it belongs to somebody else." : explain(thread.error)}</p>
        ${isMissing
          ? html`<button class="button primary" type="button" @click=${() => this.app.show(null)}>Start a new chat</button>`
          : html`<button class="button primary" type="button" @click=${() => thread.load()}>Try again</button>`}
      </div>
    `;
  }
}
customElements.define("message-list", MessageList);
