import { html } from "lit";

import { Element } from "./element.js";

const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
const COMMAND = isApple ? "⌘" : "Ctrl";

const SHORTCUTS = [
  ["Send", ["Enter"]],
  ["New line", ["Shift", "Enter"]],
  ["Stop the answer", ["Esc"]],
  ["Edit your last message", ["↑"]],
  ["New chat", [COMMAND, "Shift", "O"]],
  ["Search conversations", [COMMAND, "K"]],
  ["Write", ["/"]],
  ["Show or hide conversations", [COMMAND, "B"]],
  ["These shortcuts", ["?"]],
];

/** The keyboard shortcuts, in a dialog. */
export class ShortcutsDialog extends Element {
  open() {
    this.querySelector("dialog").showModal();
  }

  #closeOutside(event) {
    if (event.target === event.currentTarget) event.target.close();
  }

  render() {
    return html`
      <dialog aria-labelledby="shortcuts-title" @click=${this.#closeOutside}>
        <form method="dialog">
          <h2 id="shortcuts-title">Keyboard shortcuts</h2>
          <dl class="shortcuts">
            ${SHORTCUTS.map(([name, keys]) => html`<div><dt>${name}</dt><dd>${keys.map((key) => html`<kbd>${key}</kbd> `)}</dd></div>`)}
          </dl>
          <div class="actions"><button class="button primary">Close</button></div>
        </form>
      </dialog>
    `;
  }
}
customElements.define("shortcuts-dialog", ShortcutsDialog);
