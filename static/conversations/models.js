import { api } from "./api.js";
import { Observable } from "./observable.js";

const REMEMBERED = "portico.model";

/** The models this person may use and the one picked for the next message. */
export class Models extends Observable {
  items = [];
  selectedId = "";
  isLoading = true;
  error = null;

  get selected() {
    return this.items.find((model) => model.id === this.selectedId) || null;
  }

  nameOf(id) {
    return this.items.find((model) => model.id === id)?.name || id || "";
  }

  async load() {
    Object.assign(this, { isLoading: true, error: null });
    this.changed();
    try {
      this.items = (await api.models()).items.filter(canChat);
      const usable = (id) => this.items.some((model) => model.id === id);
      const wanted = [this.selectedId, remembered()].find(usable);
      // Without a memory: a real model before the sandbox.
      this.selectedId = wanted || (this.items.find((model) => !model.is_sandbox) || this.items[0])?.id || "";
    } catch (error) {
      this.error = error;
    }
    this.isLoading = false;
    this.changed();
  }

  select(id, { isChoice = true } = {}) {
    if (!isChoice && !this.items.some((model) => model.id === id)) return;
    this.selectedId = id;
    if (isChoice) remember(id);
    this.changed();
  }
}

function canChat(model) {
  const { capabilities } = model;
  const names = Array.isArray(capabilities) ? capabilities : Object.keys(capabilities || {}).filter((name) => capabilities[name]);
  return !names.includes("embeddings") && !names.includes("embedding");
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

function remember(id) {
  try {
    localStorage.setItem(REMEMBERED, id);
  } catch {
    // Storage may be refused; the choice then holds for this page.
  }
}
