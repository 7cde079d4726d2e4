import { html } from "lit";

import { Element } from "./element.js";

const STARTERS = [
  { title: "Explain something", text: "Explain how database indexes work to someone who knows spreadsheets, in five short paragraphs." },
  { title: "Write code", text: "Write a Python function that finds duplicate files in a directory tree by content, with a short test." },
  { title: "Improve a text", text: "Make this text clearer and half as long, and tell me what you changed:\n\n" },
  { title: "Compare options", text: "Compare three ways to run scheduled jobs in a web application, as a table, then recommend one for a small team." },
];

/** What an empty chat shows: a greeting and four ways to begin. Fires `use-prompt`. */
export class WelcomeView extends Element {
  static properties = { app: { attribute: false } };

  #use(text) {
    this.dispatchEvent(new CustomEvent("use-prompt", { detail: text, bubbles: true }));
  }

  render() {
    const { userName } = this.app;
    return html`
      <div class="welcome">
        <svg class="welcome-art" viewBox="0 0 240 120" aria-hidden="true">
          <path d="M120 8 226 46H14zM22 46h196v8H22z"/>
          <path d="M36 54v46M48 54v46M80 54v46M92 54v46M148 54v46M160 54v46M192 54v46M204 54v46"/>
          <path d="M28 100h184v7H28zM16 107h208v7H16z"/>
        </svg>
        <h2>${userName ? `Welcome, ${userName}` : "Welcome"}</h2>
        <p class="lead">Ask anything, or begin with one of these.</p>
        <ul class="starters">
          ${STARTERS.map(
            ({ title, text }) => html`<li>
              <button class="starter" type="button" @click=${() => this.#use(text)}>
                <strong>${title}</strong><span>${text.trim().replace(/:$/, "")}</span>
              </button>
            </li>`,
          )}
        </ul>
      </div>
    `;
  }
}
customElements.define("welcome-view", WelcomeView);
