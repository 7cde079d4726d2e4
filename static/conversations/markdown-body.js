import { html } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { unsafeHTML } from "lit/directives/unsafe-html.js";

import { copyText } from "./clipboard.js";
import { Element } from "./element.js";
import { grammars } from "./highlight.js";
import { renderBlocks } from "./markdown.js";
import { Observes } from "./observable.js";

/** Sanitised Markdown; while it grows only its last block is touched. Copies code blocks. */
export class MarkdownBody extends Element {
  static properties = { text: {} };

  constructor() {
    super();
    this.text = "";
    new Observes(this, () => [grammars]);
    this.addEventListener("click", this.#copyCode);
  }

  async #copyCode(event) {
    const button = event.target.closest("button.copy-code");
    if (!button) return;
    const isCopied = await copyText(button.closest(".code-block").querySelector("pre").textContent);
    button.textContent = isCopied ? "Copied" : "Not permitted";
    setTimeout(() => (button.textContent = "Copy"), 1800);
  }

  render() {
    const blocks = renderBlocks(this.text);
    return repeat(blocks, (_, index) => index, (block) => html`${unsafeHTML(block)}`);
  }
}
customElements.define("markdown-body", MarkdownBody);
