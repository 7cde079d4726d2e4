import { html } from "lit";

import { Element } from "./element.js";
import { fitHeight } from "./textarea.js";

/** A message being rewritten in place. Fires `finish` with the new content, or with null when it was left as it is. */
export class MessageEditor extends Element {
  static properties = { content: {} };

  firstUpdated() {
    const area = this.querySelector("textarea");
    fitHeight(area);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  #finish(content) {
    this.dispatchEvent(new CustomEvent("finish", { detail: { content } }));
  }

  #submit(event) {
    event.preventDefault();
    const content = this.querySelector("textarea").value.trim();
    this.#finish(content && content !== this.content ? content : null);
  }

  #onKey(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#finish(null);
    } else if (event.key === "Enter" && !event.shiftKey) {
      this.#submit(event);
    }
  }

  render() {
    return html`
      <form class="message-editor" @submit=${this.#submit}>
        <label class="sr-only" for="message-editor">Your message</label>
        <textarea id="message-editor" rows="2" .value=${this.content} @input=${(event) => fitHeight(event.target)} @keydown=${this.#onKey}></textarea>
        <div class="row">
          <span class="hint">The conversation branches here; the old version stays.</span>
          <button class="button small" type="button" @click=${() => this.#finish(null)}>Cancel</button>
          <button class="button small primary" type="submit">Send</button>
        </div>
      </form>
    `;
  }
}
customElements.define("message-editor", MessageEditor);
