import { html, nothing } from "lit";

import { showTheme } from "../core/page.js";
import { App } from "./app.js";
import { Element } from "./element.js";
import { icons } from "./icons.js";
import { Observes } from "./observable.js";
import "./composer.js";
import "./conversation-list.js";
import "./message-list.js";
import "./shortcuts-dialog.js";
import "./summary-dialog.js";

const PHONE = matchMedia("(max-width: 52rem)");
const TOUCH = matchMedia("(pointer: coarse)");

/** The chat page: conversations on the left (a drawer on phones), the open one on the right. */
export class ChatApp extends Element {
  static properties = { isSidebarOpen: { state: true }, isPhone: { state: true } };

  constructor() {
    super();
    this.isPhone = PHONE.matches;
    this.isSidebarOpen = !this.isPhone;
    new Observes(this, () => [this.app, this.app?.thread]);
  }

  connectedCallback() {
    this.account = this.querySelector("template").content;
    this.app = new App({ loginUrl: this.dataset.loginUrl, userName: this.dataset.userName });
    this.replaceChildren();
    super.connectedCallback();
    PHONE.addEventListener("change", this.#onWidth);
    document.addEventListener("keydown", this.#onKey);
    this.app.start();
  }

  disconnectedCallback() {
    PHONE.removeEventListener("change", this.#onWidth);
    document.removeEventListener("keydown", this.#onKey);
    super.disconnectedCallback();
  }

  firstUpdated() {
    this.querySelector(".sidebar-foot").append(this.account);
    showTheme(this);
    this.#focusComposer();
  }

  get #composer() {
    return this.querySelector("message-composer");
  }

  // A phone's keyboard should come when asked for, not with every tap.
  #focusComposer() {
    if (!TOUCH.matches) this.updateComplete.then(() => this.#composer.focusField());
  }

  #onWidth = () => {
    this.isPhone = PHONE.matches;
    this.isSidebarOpen = !this.isPhone;
  };

  #onKey = (event) => {
    if (event.defaultPrevented) return;
    const hasCommand = event.ctrlKey || event.metaKey;
    const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
    const act = (run) => {
      event.preventDefault();
      run();
    };
    if (hasCommand && !event.shiftKey && event.key.toLowerCase() === "k") act(() => this.#search());
    else if (hasCommand && !event.shiftKey && event.key.toLowerCase() === "b") act(() => this.#toggleSidebar());
    else if (hasCommand && event.shiftKey && event.key.toLowerCase() === "o") act(() => this.#startNew());
    else if (event.key === "Escape") this.#onEscape(act);
    else if (!isTyping && !hasCommand && event.key === "?") act(() => this.querySelector("shortcuts-dialog").open());
    else if (!isTyping && !hasCommand && event.key === "/") act(() => this.#composer.focusField());
  };

  #onEscape(act) {
    if (document.querySelector("dialog[open]")) return;
    if (this.isPhone && this.isSidebarOpen) act(() => this.#toggleSidebar());
    else if (this.app.thread.isBusy) act(() => this.app.attempt(() => this.app.thread.stop()));
  }

  async #toggleSidebar(isOpen = !this.isSidebarOpen) {
    if (isOpen === this.isSidebarOpen) return;
    this.isSidebarOpen = isOpen;
    await this.updateComplete;
    this.querySelector(isOpen ? ".sidebar-close" : ".sidebar-open")?.focus();
  }

  async #search() {
    await this.#toggleSidebar(true);
    this.querySelector("conversation-list").focusSearch();
  }

  #startNew() {
    this.app.show(null);
    this.#opened();
  }

  #opened() {
    if (this.isPhone) this.isSidebarOpen = false;
    this.#focusComposer();
  }

  render() {
    const { app } = this;
    const isDrawer = this.isPhone && this.isSidebarOpen;
    return html`
      <div class="chat ${this.isSidebarOpen ? "with-sidebar" : ""}">
        ${this.#renderSidebar(app)}
        ${isDrawer ? html`<div class="veil" @click=${() => this.#toggleSidebar(false)}></div>` : nothing}
        <main id="content" class="chat-main" tabindex="-1" ?inert=${isDrawer}>
          ${this.#renderHeader(app)} ${this.#renderBanner(app)}
          <message-list .app=${app} @use-prompt=${(event) => this.#composer.fill(event.detail)}
            @take-back=${(event) => this.#composer.fill(event.detail)}></message-list>
          <message-composer .app=${app} @sent=${() => this.querySelector("message-list").jumpToEnd()}
            @edit-last=${() => this.querySelector("message-list").editLast()}></message-composer>
        </main>
      </div>
      <shortcuts-dialog></shortcuts-dialog>
      <summary-dialog></summary-dialog>
      ${this.#renderToast(app)}
      <div class="sr-only" role="status" aria-live="polite">${app.announcement}</div>
    `;
  }

  #renderSidebar(app) {
    return html`
      <nav class="sidebar" aria-label="Conversations" ?inert=${!this.isSidebarOpen}>
        <div class="sidebar-head">
          <a class="brand" href="/chat"><img src=${this.dataset.mark} alt="" width="26" height="26"> Portico</a>
          <button class="button icon quiet sidebar-close" type="button" title="Hide conversations" aria-label="Hide conversations"
            @click=${() => this.#toggleSidebar(false)}>${icons.panel}</button>
        </div>
        <div class="sidebar-new">
          <button class="button wide new-chat" type="button" @click=${() => this.#startNew()}>${icons.compose} New chat</button>
        </div>
        <conversation-list .app=${app} @opened=${() => this.#opened()}></conversation-list>
        <div class="sidebar-foot"></div>
      </nav>
    `;
  }

  #renderHeader(app) {
    const title = app.thread.conversation?.title || (app.thread.id ? "Chat" : "New chat");
    return html`
      <header class="chat-head">
        ${this.isSidebarOpen && !this.isPhone
          ? nothing
          : html`<button class="button icon quiet sidebar-open" type="button" title="Show conversations" aria-label="Show conversations"
              aria-expanded="false" @click=${() => this.#toggleSidebar(true)}>${icons.menu}</button>`}
        <h1 class="chat-title">${title}</h1>
        ${app.thread.conversation && app.thread.messages.length
          ? html`<button class="button icon quiet" type="button" title="Summarize" aria-label="Summarize this conversation" aria-haspopup="dialog"
              @click=${() => this.querySelector("summary-dialog").open(app.thread.conversation)}>${icons.summary}</button>`
          : nothing}
        ${this.isSidebarOpen && !this.isPhone
          ? nothing
          : html`<button class="button icon quiet" type="button" title="New chat" aria-label="New chat" @click=${() => this.#startNew()}>${icons.compose}</button>`}
        <button class="button icon quiet shortcuts-button" type="button" title="Keyboard shortcuts (?)" aria-label="Keyboard shortcuts"
          @click=${() => this.querySelector("shortcuts-dialog").open()}>${icons.keyboard}</button>
      </header>
    `;
  }

  #renderBanner(app) {
    if (app.isReachable) return nothing;
    const why = navigator.onLine ? "Portico does not answer right now." : "You are offline.";
    return html`<p class="banner" role="alert">${icons.warning} ${why} We keep trying; what you write stays here.</p>`;
  }

  #renderToast({ toast }) {
    return html`
      <div class="toast-place" role="status">
        ${toast
          ? html`<div class="toast ${toast.isError ? "error" : ""}">
              <span>${toast.text}</span>
              ${toast.action ? html`<button class="button small toast-action" type="button" @click=${() => this.#useToast(toast)}>${toast.action.label}</button>` : nothing}
              <button class="button icon small quiet" type="button" aria-label="Dismiss" @click=${() => this.app.dismissToast()}>${icons.close}</button>
            </div>`
          : nothing}
      </div>
    `;
  }

  #useToast(toast) {
    this.app.dismissToast();
    toast.action.run();
  }
}
customElements.define("chat-app", ChatApp);
