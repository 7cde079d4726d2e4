import { html, nothing } from "lit";

import { Element } from "./element.js";
import { icons } from "./icons.js";
import { describePrice, describeWindow, tierWord } from "./model-words.js";
import { Observes } from "./observable.js";

const MANY = 7; // from here on a filter field helps

/** Picks the model of the next message: a button and a list box, by mouse or by arrow keys, filtered by typing. */
export class ModelPicker extends Element {
  static properties = {
    app: { attribute: false },
    isOpen: { state: true },
    filter: { state: true },
    activeIndex: { state: true },
  };

  constructor() {
    super();
    this.filter = "";
    this.activeIndex = 0;
    new Observes(this, () => [this.app?.models]);
  }

  connectedCallback() {
    super.connectedCallback();
    document.addEventListener("pointerdown", this.#onPointerOutside);
  }

  disconnectedCallback() {
    document.removeEventListener("pointerdown", this.#onPointerOutside);
    super.disconnectedCallback();
  }

  #onPointerOutside = (event) => {
    if (this.isOpen && !this.contains(event.target)) this.isOpen = false;
  };

  get #found() {
    const words = this.filter.toLowerCase().split(/\s+/).filter(Boolean);
    return this.app.models.items.filter((model) => {
      const text = `${model.name} ${model.providers.join(" ")} ${model.tier} ${tierWord(model.tier)}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }

  async open() {
    this.filter = "";
    this.isOpen = true;
    this.activeIndex = Math.max(0, this.#found.findIndex((model) => model.name === this.app.models.selectedName));
    await this.updateComplete;
    this.querySelector("[data-takes-keys]").focus();
    this.#scrollToActive();
  }

  #close() {
    this.isOpen = false;
    this.querySelector(".model-button").focus();
  }

  #pick(model) {
    this.app.models.select(model.name);
    this.#close();
  }

  #onKey(event) {
    const last = this.#found.length - 1;
    const moves = { ArrowDown: this.activeIndex + 1, ArrowUp: this.activeIndex - 1, Home: 0, End: last };
    if (event.key in moves) {
      event.preventDefault();
      this.activeIndex = Math.min(last, Math.max(0, moves[event.key]));
      this.updateComplete.then(() => this.#scrollToActive());
    } else if (event.key === "Enter" && this.#found[this.activeIndex]) {
      event.preventDefault();
      this.#pick(this.#found[this.activeIndex]);
    } else if (event.key === "Escape" || event.key === "Tab") {
      if (event.key === "Escape") event.preventDefault();
      event.stopPropagation();
      this.#close();
    }
  }

  #scrollToActive() {
    this.querySelector('[role="option"].active')?.scrollIntoView({ block: "nearest" });
  }

  render() {
    const { models } = this.app;
    if (models.error) {
      return html`<button class="button small quiet" type="button" @click=${() => models.load()}>Models did not load: try again</button>`;
    }
    const label = models.selected?.name || (models.isLoading ? "Loading models…" : "No model available");
    return html`
      <button class="button small quiet model-button" type="button" aria-haspopup="listbox" aria-expanded=${this.isOpen ? "true" : "false"}
        aria-label="Model: ${label}" ?disabled=${!models.items.length} @click=${() => (this.isOpen ? this.#close() : this.open())}>
        <span class="model-name">${label}</span>
        ${models.selected?.is_sandbox ? html`<span class="badge warn">sandbox</span>` : nothing} ${icons.chevron}
      </button>
      ${this.isOpen ? this.#renderPanel(models) : nothing}
    `;
  }

  #renderPanel(models) {
    const found = this.#found;
    const active = found.length ? `model-option-${this.activeIndex}` : nothing;
    const isMany = models.items.length >= MANY;
    return html`
      <div class="model-panel">
        ${isMany
          ? html`<input type="search" placeholder="Find a model" aria-label="Find a model" role="combobox" aria-expanded="true" data-takes-keys
              aria-controls="model-options" aria-activedescendant=${active} autocomplete="off" .value=${this.filter}
              @input=${(event) => this.#setFilter(event.target.value)} @keydown=${this.#onKey}>`
          : nothing}
        <ul id="model-options" role="listbox" aria-label="Models" tabindex=${isMany ? nothing : "0"} ?data-takes-keys=${!isMany}
          aria-activedescendant=${isMany ? nothing : active} @keydown=${isMany ? nothing : this.#onKey}>
          ${found.map((model, index) => this.#renderOption(model, index))}
        </ul>
        ${found.length ? nothing : html`<p class="faint small model-none">No model matches “${this.filter}”.</p>`}
      </div>
    `;
  }

  #setFilter(text) {
    this.filter = text;
    this.activeIndex = 0;
  }

  #renderOption(model, index) {
    const isSelected = model.name === this.app.models.selectedName;
    return html`
      <li id="model-option-${index}" role="option" aria-selected=${isSelected ? "true" : "false"} class=${index === this.activeIndex ? "active" : ""}
        @click=${() => this.#pick(model)} @pointermove=${() => (this.activeIndex = index)}>
        <span class="option-name">${model.name}
          ${model.is_sandbox ? html`<span class="badge warn">sandbox</span>` : html`<span class="badge" title="Tier ${model.tier}">${tierWord(model.tier)}</span>`}
        </span>
        <span class="option-detail">${[model.provider, describePrice(model.prices), describeWindow(model.context_window)].filter(Boolean).join(" · ")}</span>
        ${isSelected ? icons.check : nothing}
      </li>
    `;
  }
}
customElements.define("model-picker", ModelPicker);
