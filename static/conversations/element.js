import { LitElement } from "lit";

/** A component in the page's own DOM: one style sheet, real labels and ids, and text that the browser can find. */
export class Element extends LitElement {
  createRenderRoot() {
    return this;
  }
}
