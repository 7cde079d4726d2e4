import { html, nothing } from "lit";

import { copyText } from "./clipboard.js";
import { Element } from "./element.js";
import { icons } from "./icons.js";
import { fullTime } from "./time.js";
import "./markdown-body.js";
import "./message-editor.js";

const ENDINGS = {
  cancelled: "You stopped this answer.",
  interrupted: "The answer was cut off before its end.",
  failed: "The answer failed.",
};

/** One message with what one can do to it. The thread decides what happens; this only shows and asks. */
export class MessageView extends Element {
  static properties = {
    app: { attribute: false },
    message: { attribute: false },
    isRunning: { type: Boolean },
    isLive: { type: Boolean },
    isBusy: { type: Boolean },
    author: {},
    isEditing: { state: true },
    isCopied: { state: true },
  };

  async #copy() {
    if (!(await copyText(this.message.content))) return;
    this.isCopied = true;
    this.app.announce("Copied.");
    setTimeout(() => (this.isCopied = false), 1800);
  }

  edit() {
    this.isEditing = true;
  }

  #regenerate() {
    const { thread, models } = this.app;
    this.app.attempt(() => thread.regenerate(this.message, models.selectedName));
  }

  async #finishEdit(event) {
    this.isEditing = false;
    const { content } = event.detail;
    if (content === null) {
      await this.updateComplete;
      this.querySelector('[data-action="edit"]')?.focus();
      return;
    }
    const { thread, models } = this.app;
    this.app.attempt(() => thread.edit(this.message, content, models.selectedName));
  }

  render() {
    return this.message.role === "user" ? this.#renderUser() : this.#renderAnswer();
  }

  #renderUser() {
    const { message } = this;
    if (this.isEditing) {
      return html`<message-editor .content=${message.content} @finish=${this.#finishEdit}></message-editor>`;
    }
    return html`
      <article class="message user" aria-label="You">
        <div class="bubble">${message.content}</div>
        <div class="message-foot">
          ${this.#renderCopy()}
          ${this.isBusy ? nothing : this.#renderAction("edit", "Edit and branch", icons.pencil, () => this.edit())}
          ${this.#renderSiblings("version of your message")}
        </div>
      </article>
    `;
  }

  #renderAnswer() {
    const { message, isRunning } = this;
    return html`
      <article class="message answer ${isRunning ? "running" : ""}" aria-label="Answer" aria-busy=${isRunning ? "true" : "false"}>
        <h2 class="message-author" title=${fullTime(message.created_at)}>${this.author || "Answer"}</h2>
        <markdown-body class="prose" .text=${message.content}></markdown-body>
        ${isRunning && !message.content ? html`<p class="thinking"><span></span><span></span><span></span><b class="sr-only">Waiting for the answer</b></p>` : nothing}
        ${isRunning && !this.isLive ? html`<p class="small faint" role="status">Connection lost, reconnecting…</p>` : nothing}
        ${this.#renderEnding()} ${isRunning ? nothing : this.#renderAnswerFoot()}
      </article>
    `;
  }

  #renderEnding() {
    const { status, error } = this.message;
    if (this.isRunning || !ENDINGS[status]) return nothing;
    if (status === "cancelled") return html`<p class="ending small faint">${ENDINGS.cancelled}</p>`;
    return html`
      <div class="alert danger ending">
        <p>${icons.warning} ${error?.message || ENDINGS[status]}</p>
        <button class="button small" type="button" ?disabled=${this.isBusy} @click=${this.#regenerate}>Try again</button>
      </div>
    `;
  }

  #renderAnswerFoot() {
    const { message } = this;
    return html`
      <div class="message-foot">
        ${this.#renderSiblings("answer")} ${message.content ? this.#renderCopy() : nothing}
        ${this.isBusy ? nothing : this.#renderAction("regenerate", "Answer again", icons.again, this.#regenerate)}
        ${message.usage ? this.#renderUsage(message.usage) : nothing}
      </div>
    `;
  }

  #renderUsage({ prompt_tokens: asked, completion_tokens: answered, cost }) {
    const detail = `${asked.toLocaleString()} tokens read, ${answered.toLocaleString()} written`;
    const price = cost === null ? "" : Number(cost) ? ` · $${Number(cost).toPrecision(2)}` : " · free";
    return html`<span class="usage" title=${cost === null ? detail : `${detail}, ${cost} USD`}>${(asked + answered).toLocaleString()} tokens${price}</span>`;
  }

  #renderCopy() {
    const label = this.isCopied ? "Copied" : "Copy";
    return this.#renderAction("copy", label, this.isCopied ? icons.check : icons.copy, this.#copy);
  }

  #renderAction(action, label, icon, run) {
    return html`<button class="button icon small quiet" type="button" data-action=${action} title=${label} aria-label=${label} @click=${run}>${icon}</button>`;
  }

  #renderSiblings(what) {
    const siblings = this.message.siblings || [];
    if (siblings.length < 2) return nothing;
    const index = siblings.indexOf(this.message.id);
    const step = (to, label, icon) => html`
      <button class="button icon small quiet" type="button" title=${label} aria-label=${label}
        ?disabled=${!siblings[to] || this.isBusy} @click=${() => this.#showSibling(siblings[to])}>${icon}</button>`;
    return html`
      <span class="siblings" role="group" aria-label="Versions">
        ${step(index - 1, `Previous ${what}`, icons.left)}
        <span class="sibling-count" aria-label="Version ${index + 1} of ${siblings.length}">${index + 1}/${siblings.length}</span>
        ${step(index + 1, `Next ${what}`, icons.right)}
      </span>
    `;
  }

  #showSibling(id) {
    this.app.attempt(() => this.app.thread.showSibling(id));
  }
}
customElements.define("message-view", MessageView);
