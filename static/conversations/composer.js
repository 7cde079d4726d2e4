import { html } from "lit";

import { Element } from "./element.js";
import { icons } from "./icons.js";
import { Observes } from "./observable.js";
import { fitHeight } from "./textarea.js";
import "./model-picker.js";

/** Where one writes. Enter sends, Shift+Enter breaks the line, ↑ in an empty field edits the last message. */
export class MessageComposer extends Element {
  static properties = { app: { attribute: false }, text: { state: true } };
  #thread = null;

  constructor() {
    super();
    this.text = "";
    new Observes(this, () => [this.app, this.app?.thread, this.app?.models]);
  }

  get #area() {
    return this.querySelector("textarea");
  }

  willUpdate() {
    if (this.app.thread === this.#thread) return;
    this.#thread = this.app.thread;
    this.text = this.app.draftOf(this.#thread);
  }

  updated(changed) {
    if (changed.has("text")) fitHeight(this.#area);
  }

  focusField() {
    this.#area?.focus();
  }

  /** Put a text into the field for the writer to go on with, before what is there already. */
  async fill(text) {
    const kept = this.text.trim();
    this.#set(kept ? `${text.trimEnd()}\n\n${kept}` : text);
    await this.updateComplete;
    this.#area.focus();
    this.#area.setSelectionRange(this.text.length, this.text.length);
  }

  #set(text) {
    this.text = text;
    this.app.keepDraft(this.app.thread, text);
  }

  #canSend() {
    const { models, thread } = this.app;
    return Boolean(this.text.trim() && (models.selectedName || models.isLoading) && !thread.isBusy && !thread.unsent);
  }

  #send(event) {
    event?.preventDefault();
    if (!this.#canSend()) return;
    const { thread, models } = this.app;
    const content = this.text.trim();
    this.#set("");
    this.app.attempt(async () => {
      await models.ready;
      await thread.send(content, models.selectedName);
    });
    this.dispatchEvent(new CustomEvent("sent", { bubbles: true }));
    this.#area.focus();
  }

  #onKey(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#send();
    } else if (event.key === "ArrowUp" && !this.text) {
      event.preventDefault();
      this.dispatchEvent(new CustomEvent("edit-last", { bubbles: true }));
    }
  }

  render() {
    const { thread } = this.app;
    return html`
      <form class="composer" @submit=${this.#send}>
        <label class="sr-only" for="composer-text">Message</label>
        <textarea id="composer-text" rows="1" placeholder="Write a message" autocomplete="off" enterkeyhint="send"
          .value=${this.text} @input=${(event) => this.#set(event.target.value)} @keydown=${this.#onKey}></textarea>
        <div class="composer-foot">
          <model-picker .app=${this.app}></model-picker>
          ${thread.isBusy
            ? html`<button class="button icon primary round" type="button" title="Stop (Esc)" aria-label="Stop the answer"
                ?disabled=${thread.run.isStopping} @click=${() => this.app.attempt(() => thread.stop())}>${icons.stop}</button>`
            : html`<button class="button icon primary round" type="submit" title="Send (Enter)" aria-label="Send" ?disabled=${!this.#canSend()}>${icons.send}</button>`}
        </div>
      </form>
    `;
  }
}
customElements.define("message-composer", MessageComposer);
