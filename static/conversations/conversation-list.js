import { html, nothing } from "lit";
import { live } from "lit/directives/live.js";
import { repeat } from "lit/directives/repeat.js";

import { Element } from "./element.js";
import { icons } from "./icons.js";
import { Observes } from "./observable.js";
import { explain } from "./thread.js";
import { periodOf } from "./time.js";

/** The conversations, newest first, with search; the next page comes when the end is near. */
export class ConversationList extends Element {
  static properties = { app: { attribute: false }, renamingId: { state: true } };
  #observer = null;
  #formerTitle = ""; // of what is being renamed; it may get another one from a model meanwhile

  constructor() {
    super();
    new Observes(this, () => [this.app, this.app?.shelf, this.app?.thread]);
  }

  firstUpdated() {
    const root = this.querySelector(".shelf-scroll");
    this.#observer = new IntersectionObserver(
      (entries) => entries.some((entry) => entry.isIntersecting) && this.app.shelf.loadMore(),
      { root, rootMargin: "400px" },
    );
  }

  updated() {
    // Observing anew fires again when the sentinel is still in sight after a short page.
    this.#observer.disconnect();
    const sentinel = this.querySelector(".shelf-end");
    if (sentinel && !this.app.shelf.isLoading && !this.app.shelf.error) this.#observer.observe(sentinel);
  }

  focusSearch() {
    const field = this.querySelector("#conversation-search");
    field.focus();
    field.select();
  }

  #onSearchKey(event) {
    if (event.key === "Escape" && this.app.shelf.search) {
      event.stopPropagation();
      event.preventDefault();
      this.app.shelf.setSearch("");
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.querySelector(".shelf-link")?.focus();
    } else if (event.key === "Enter") {
      this.querySelector(".shelf-link")?.click();
    }
  }

  #onListKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.matches(".shelf-link")) return;
    event.preventDefault();
    const links = [...this.querySelectorAll(".shelf-link")];
    const next = links[links.indexOf(event.target) + step];
    if (next) next.focus();
    else if (step < 0) this.focusSearch();
  }

  #open(event, id) {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.app.show(id);
    this.dispatchEvent(new CustomEvent("opened", { bubbles: true }));
  }

  async #startRename(conversation) {
    this.renamingId = conversation.id;
    this.#formerTitle = conversation.title;
    await this.updateComplete;
    this.querySelector(".rename-field").select();
  }

  async #finishRename(conversation, title) {
    if (this.renamingId !== conversation.id) return;
    this.renamingId = null;
    await this.updateComplete;
    this.#linkOf(conversation.id)?.focus();
    const wanted = title?.trim();
    if (wanted && wanted !== this.#formerTitle) this.app.rename(conversation, wanted);
  }

  #onRenameKey(event, conversation) {
    if (event.isComposing) return;
    if (event.key === "Enter") this.#finishRename(conversation, event.target.value);
    else if (event.key === "Escape") this.#finishRename(conversation, null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  async #remove(conversation) {
    const { items } = this.app.shelf;
    const index = items.indexOf(conversation);
    const neighbour = items[index + 1] || items[index - 1];
    this.app.remove(conversation);
    await this.updateComplete;
    if (neighbour) this.#linkOf(neighbour.id)?.focus();
  }

  #linkOf(id) {
    return this.querySelector(`.shelf-link[href="/chat/${id}"]`);
  }

  render() {
    const { shelf } = this.app;
    return html`
      <div class="shelf-search">
        ${icons.search}
        <label class="sr-only" for="conversation-search">Search conversations</label>
        <input id="conversation-search" type="search" placeholder="Search" autocomplete="off" .value=${live(shelf.search)}
          @input=${(event) => shelf.setSearch(event.target.value)} @keydown=${this.#onSearchKey}>
      </div>
      <div class="shelf-scroll" @keydown=${this.#onListKey}>
        ${this.#renderGroups(shelf.items)} ${this.#renderEnd(shelf)}
      </div>
    `;
  }

  #renderGroups(items) {
    const groups = Map.groupBy(items, (item) => periodOf(item.last_message_at || item.created_at));
    return repeat(groups, ([period]) => period, ([period, members]) => html`
      <h2 class="shelf-period">${period}</h2>
      <ul class="shelf-list">
        ${repeat(members, (item) => item.id, (item) => html`<li>${item.id === this.renamingId ? this.#renderRename(item) : this.#renderItem(item)}</li>`)}
      </ul>
    `);
  }

  #renderItem(item) {
    const title = item.title || "New chat";
    const isCurrent = item.id === this.app.thread.id;
    return html`
      <div class="shelf-item ${isCurrent ? "current" : ""}">
        <a class="shelf-link" href="/chat/${item.id}" title=${title} aria-current=${isCurrent ? "page" : nothing} @click=${(event) => this.#open(event, item.id)}>
          <span class="shelf-title">${title}</span>
          ${this.app.isAnswering(item.id) ? html`<span class="pulse"><b class="sr-only">is being answered</b></span>` : nothing}
        </a>
        <span class="shelf-actions">
          <button class="button icon small quiet" type="button" title="Rename" aria-label="Rename ${title}" @click=${() => this.#startRename(item)}>${icons.pencil}</button>
          <button class="button icon small quiet" type="button" title="Delete" aria-label="Delete ${title}" @click=${() => this.#remove(item)}>${icons.trash}</button>
        </span>
      </div>
    `;
  }

  #renderRename(item) {
    return html`<input class="rename-field" aria-label="New title" maxlength="200" .value=${this.#formerTitle}
      @keydown=${(event) => this.#onRenameKey(event, item)} @blur=${(event) => this.#finishRename(item, event.target.value)}>`;
  }

  #renderEnd(shelf) {
    if (shelf.error) {
      return html`<p class="shelf-note">${explain(shelf.error)} <button class="button small" type="button" @click=${() => shelf.load()}>Try again</button></p>`;
    }
    if (!shelf.items.length && !shelf.isLoading) {
      return html`<p class="shelf-note faint">${shelf.search ? `Nothing is called “${shelf.search}”.` : "Your conversations will be listed here."}</p>`;
    }
    return shelf.isComplete ? nothing : html`<p class="shelf-end faint small" role="status">${shelf.isLoading ? "Loading…" : ""}</p>`;
  }
}
customElements.define("conversation-list", ConversationList);
