import { api } from "./api.js";
import { Observable } from "./observable.js";

const REMEMBERED = "portico.model";

/** The models this person may use and the one picked for the next message. */
export class Models extends Observable {
  items = [];
  selectedName = "";
  isLoading = true;
  error = null;
  /** Settles when the models have come, or could not. */
  ready = null;

  get selected() {
    return this.items.find((model) => model.name === this.selectedName) || null;
  }

  load() {
    this.ready = this.#load();
    return this.ready;
  }

  async #load() {
    Object.assign(this, { isLoading: true, error: null });
    this.changed();
    try {
      this.items = (await api.models()).items.filter((model) => model.capabilities.includes("chat"));
      const wanted = [this.selectedName, remembered()].find((name) => this.#has(name));
      // Without a memory: a real model before the sandbox.
      this.selectedName = wanted || (this.items.find((model) => !model.is_sandbox) || this.items[0])?.name || "";
    } catch (error) {
      this.error = error;
    }
    this.isLoading = false;
    this.changed();
  }

  /** Use a model from now on; `isChoice` is false where a conversation brings the one it was led with. */
  select(name, { isChoice = true } = {}) {
    if (!isChoice && !this.#has(name)) return;
    this.selectedName = name;
    if (isChoice) remember(name);
    this.changed();
  }

  #has(name) {
    return this.items.some((model) => model.name === name);
  }
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function remember(name) {
  try {
    localStorage.setItem(REMEMBERED, name);
  } catch {
    // Storage may be refused; the choice then holds for this page.
  }
}
