import { api } from "./api.js";
import { Observable } from "./observable.js";

const PAUSE_BEFORE_SEARCH = 250;

/** The list of conversations: pages, search, and what one does to an entry. */
export class Shelf extends Observable {
  items = [];
  search = "";
  isLoading = false;
  isComplete = false;
  error = null;
  #next = null;
  #controller = null;
  #timer = 0;

  /** Load the first page for the present search; an answer to an older search is thrown away. */
  async load() {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    Object.assign(this, { isLoading: true, error: null });
    this.changed();
    try {
      const page = await api.conversations({ search: this.search, signal: controller.signal });
      if (controller.signal.aborted) return;
      this.items = page.items;
      this.#take(page);
    } catch (error) {
      if (controller.signal.aborted) return;
      this.error = error;
    }
    this.isLoading = false;
    this.changed();
  }

  async loadMore() {
    if (this.isLoading || this.isComplete || !this.#next) return;
    const { signal } = this.#controller;
    this.isLoading = true;
    this.changed();
    try {
      const page = await api.conversations({ next: this.#next, signal });
      if (signal.aborted) return;
      // A conversation that moved to the top since the last page would come twice.
      const known = new Set(this.items.map((item) => item.id));
      this.items = [...this.items, ...page.items.filter((item) => !known.has(item.id))];
      this.#take(page);
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.isLoading = false;
    this.changed();
  }

  #take(page) {
    this.#next = page.next;
    this.isComplete = !page.next;
  }

  setSearch(text) {
    if (text === this.search) return;
    this.search = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.load(), text ? PAUSE_BEFORE_SEARCH : 0);
    this.changed();
  }

  /** Take in what the server says about a conversation; one that just got a message moves to the top. */
  upsert(conversation, { toTop = false } = {}) {
    const index = this.items.findIndex((item) => item.id === conversation.id);
    const isNew = index < 0;
    if (isNew && this.search) return;
    const others = this.items.filter((item) => item.id !== conversation.id);
    if (isNew || toTop) this.items = [conversation, ...others];
    else this.items = this.items.with(index, conversation);
    this.changed();
  }

  /** Take in a newer state of an entry, where it stands; what is not in the list stays out. */
  renew(conversation) {
    const index = this.items.findIndex((item) => item.id === conversation.id);
    if (index < 0 || this.items[index].version >= conversation.version) return;
    this.items = this.items.with(index, conversation);
    this.changed();
  }

  /** Change title or model; when somebody else changed the conversation first, apply ours on top of theirs. */
  async patch(conversation, changes) {
    let changed;
    try {
      changed = await api.patchConversation(conversation, changes);
    } catch (error) {
      if (error.status !== 412) throw error;
      changed = await api.patchConversation(await api.conversation(conversation.id), changes);
    }
    this.upsert(changed);
    return changed;
  }

  /** Delete, and return the function that brings it back to the same place. */
  async remove(conversation) {
    const index = this.items.findIndex((item) => item.id === conversation.id);
    this.items = this.items.filter((item) => item.id !== conversation.id);
    this.changed();
    const putBack = (entry) => {
      this.items = this.items.filter((item) => item.id !== entry.id).toSpliced(Math.max(index, 0), 0, entry);
      this.changed();
    };
    try {
      await api.deleteConversation(conversation.id);
    } catch (error) {
      putBack(conversation);
      throw error;
    }
    return async () => putBack((await api.restoreConversation(conversation.id)) || conversation);
  }
}
