import { svg } from "lit";

const icon = (paths) => svg`<svg viewBox="0 0 20 20" aria-hidden="true">${paths}</svg>`;

export const icons = {
  menu: icon(svg`<path d="M3 6h14M3 10h14M3 14h9"/>`),
  panel: icon(svg`<rect x="2.5" y="3.5" width="15" height="13" rx="2.5"/><path d="M8 3.5v13"/>`),
  plus: icon(svg`<path d="M10 4v12M4 10h12"/>`),
  pencil: icon(svg`<path d="m12.4 4.6 3 3L7 16H4v-3z"/>`),
  compose: icon(svg`<path d="M16.5 10.5v4a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-9a2 2 0 0 1 2-2h4"/><path d="m15 3 2 2-6.5 6.5-2.6.6.6-2.6z"/>`),
  trash: icon(svg`<path d="M4 6h12M8 6V4h4v2M5.5 6l.7 10h7.6l.7-10M8.5 9v4.5M11.5 9v4.5"/>`),
  search: icon(svg`<circle cx="9" cy="9" r="5"/><path d="m13 13 3.5 3.5"/>`),
  close: icon(svg`<path d="m5 5 10 10M15 5 5 15"/>`),
  send: icon(svg`<path d="M10 16V4.5M5 9.5l5-5 5 5"/>`),
  stop: icon(svg`<rect x="6" y="6" width="8" height="8" rx="1.5" class="fill"/>`),
  copy: icon(svg`<rect x="7" y="7" width="9.5" height="9.5" rx="2"/><path d="M4.5 13h-.3A1.7 1.7 0 0 1 2.5 11.3V4.2a1.7 1.7 0 0 1 1.7-1.7h7.1A1.7 1.7 0 0 1 13 4.2v.3"/>`),
  check: icon(svg`<path d="m4.5 10.5 3.5 3.5 7.5-8"/>`),
  again: icon(svg`<path d="M16 10a6 6 0 1 1-1.8-4.3M16.2 2.8v3.4h-3.4"/>`),
  left: icon(svg`<path d="m12 5-5 5 5 5"/>`),
  right: icon(svg`<path d="m8 5 5 5-5 5"/>`),
  down: icon(svg`<path d="M10 4v11.5M5 10.5l5 5 5-5"/>`),
  chevron: icon(svg`<path d="m6 8 4 4 4-4"/>`),
  warning: icon(svg`<path d="M10 3.2 17.6 16H2.4zM10 8.2v3.6M10 13.9v.1"/>`),
  summary: icon(svg`<path d="M3.5 4.5h13M3.5 8.5h13M3.5 12.5h7"/><path d="m15 11.5.8 1.9 1.9.8-1.9.8-.8 1.9-.8-1.9-1.9-.8 1.9-.8z" class="fill"/>`),
  keyboard: icon(svg`<rect x="2" y="5" width="16" height="10.5" rx="2"/><path d="M5 8.2h.01M8 8.2h.01M11 8.2h.01M14.5 8.2h.01M6 12.2h8"/>`),
};
