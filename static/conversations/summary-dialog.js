import { html, nothing } from "lit";

import { api } from "./api.js";
import { copyText } from "./clipboard.js";
import { Element } from "./element.js";
import { icons } from "./icons.js";
import { explain } from "./thread.js";
import { fullTime } from "./time.js";
import "./markdown-body.js";

/** What a conversation says in few words, in a dialog: the kept summary if there is one, else a new one. */
export class SummaryDialog extends Element {
  static properties = {
    conversation: { state: true },
    summary: { state: true },
    error: { state: true },
    isBusy: { state: true },
    isCopied: { state: true },
  };
  #asked = null;

  open(conversation) {
    Object.assign(this, { conversation, summary: null, isCopied: false });
    this.querySelector("dialog").showModal();
    // A kept summary costs nothing, so that is looked for first; an old one says so and is renewed on demand.
    this.#ask(async () => (await api.summary(conversation.id)) ?? (await api.summarize(conversation.id)));
  }

  #renew() {
    this.querySelector(".summary-close").focus(); // the pressed button goes
    this.#ask(() => api.summarize(this.conversation.id));
  }

  async #ask(find) {
    const asked = (this.#asked = {});
    Object.assign(this, { isBusy: true, error: null });
    try {
      const summary = await find();
      if (this.#asked === asked) Object.assign(this, { summary, isCopied: false });
    } catch (error) {
      if (this.#asked === asked) this.error = error;
    }
    if (this.#asked === asked) this.isBusy = false;
  }

  #closeOutside(event) {
    if (event.target === event.currentTarget) event.target.close();
  }

  async #copy() {
    this.isCopied = await copyText(this.summary.text);
  }

  render() {
    const { summary, error, isBusy } = this;
    return html`
      <dialog class="summary" aria-labelledby="summary-title" @click=${this.#closeOutside}>
        <h2 id="summary-title">Summary</h2>
        <p class="summary-of faint">${this.conversation?.title || "New chat"}</p>
        <div role="status" aria-busy=${isBusy ? "true" : "false"}>
          ${isBusy ? html`<p class="summary-wait"><span class="pulse"></span> Reading the conversation…</p>` : nothing}
          ${!isBusy && summary?.is_outdated ? html`<p class="alert warning">The conversation has changed since this was written.</p>` : nothing}
          ${summary ? html`<markdown-body class="prose ${isBusy ? "faint" : ""}" .text=${summary.text}></markdown-body>` : nothing}
        </div>
        ${error ? html`<p class="alert error" role="alert">${explain(error)}</p>` : nothing}
        ${summary && !isBusy ? this.#renderOrigin(summary) : nothing}
        <div class="actions">
          <button class="button summary-close" type="button" @click=${() => this.querySelector("dialog").close()}>Close</button>
          ${summary && !isBusy
            ? html`<button class="button" type="button" @click=${this.#copy}>${this.isCopied ? icons.check : icons.copy} ${this.isCopied ? "Copied" : "Copy"}</button>`
            : nothing}
          ${!isBusy && (error || summary?.is_outdated || summary?.method === "fallback")
            ? html`<button class="button primary" type="button" @click=${this.#renew}>${!error && summary.is_outdated ? "Update" : "Try again"}</button>`
            : nothing}
        </div>
      </dialog>
    `;
  }

  #renderOrigin(summary) {
    const count = `${summary.message_count} ${summary.message_count === 1 ? "message" : "messages"}`;
    const maker = summary.method === "model" ? `by ${summary.model}` : "in its own sentences, because no model answered";
    return html`<p class="summary-origin small faint">Of ${count}, ${maker}. ${fullTime(summary.made_at)}</p>`;
  }
}
customElements.define("summary-dialog", SummaryDialog);
