/** Markdown of a model or a person into HTML that is safe to insert. */
import DOMPurify from "dompurify";
import MarkdownIt from "markdown-it";

import { highlight } from "./highlight.js";

// Raw HTML stays text: what a model writes is never markup of ours.
const markdown = new MarkdownIt({ html: false, linkify: true, breaks: false });
const { escapeHtml } = markdown.utils;

const SANITIZE = {
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "button", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "li",
    "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["alt", "class", "href", "rel", "src", "start", "tabindex", "target", "title", "type"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

const rules = markdown.renderer.rules;

rules.link_open = (tokens, index, options, env, self) => {
  tokens[index].attrSet("target", "_blank");
  tokens[index].attrSet("rel", "noopener noreferrer nofollow");
  return self.renderToken(tokens, index, options);
};

// A remote image would tell its host what was asked (and carry data out in its address), so it is a link one may follow.
rules.image = (tokens, index) => {
  const source = tokens[index].attrGet("src") || "";
  const alt = tokens[index].content;
  if (source.startsWith("data:image/")) return `<img src="${escapeHtml(source)}" alt="${escapeHtml(alt)}">`;
  const name = escapeHtml(alt || source);
  return `<a href="${escapeHtml(source)}" target="_blank" rel="noopener noreferrer nofollow">Image: ${name}</a>`;
};

rules.fence = (tokens, index) => {
  const language = tokens[index].info.trim().split(/\s+/)[0].toLowerCase();
  return codeBlock(tokens[index].content, language);
};
rules.code_block = (tokens, index) => codeBlock(tokens[index].content, "");

rules.table_open = () => '<div class="table-scroll" tabindex="0"><table>';
rules.table_close = () => "</table></div>";

// The policy forbids style attributes; alignment is a class.
for (const cell of ["th_open", "td_open"]) {
  rules[cell] = (tokens, index, options, env, self) => {
    const style = tokens[index].attrGet("style") || "";
    tokens[index].attrs = style.includes("right") ? [["class", "right"]] : style.includes("center") ? [["class", "center"]] : null;
    return self.renderToken(tokens, index, options);
  };
}

function codeBlock(code, language) {
  return (
    `<div class="code-block"><div class="code-head"><span>${escapeHtml(language || "text")}</span>` +
    '<button type="button" class="copy-code">Copy</button></div>' +
    `<pre tabindex="0"><code>${highlight(code, language, escapeHtml)}</code></pre></div>`
  );
}

const sanitized = new Map();
const KEPT = 2000;

function sanitize(html) {
  let clean = sanitized.get(html);
  if (clean === undefined) {
    clean = DOMPurify.sanitize(html, SANITIZE);
    if (sanitized.size >= KEPT) sanitized.delete(sanitized.keys().next().value);
    sanitized.set(html, clean);
  }
  return clean;
}

/**
 * Return the text as a list of sanitised HTML blocks, one for each top-level paragraph, list, table or code block.
 * While an answer grows only its last block changes, so the page keeps the others (and the reader's selection) untouched.
 */
export function renderBlocks(text) {
  const env = {};
  const tokens = markdown.parse(text, env);
  const blocks = [];
  let start = 0;
  for (let index = 0; index < tokens.length; index += 1) {
    if (tokens[index].level > 0 || tokens[index].nesting > 0) continue;
    const html = markdown.renderer.render(tokens.slice(start, index + 1), markdown.options, env);
    blocks.push(sanitize(html));
    start = index + 1;
  }
  return blocks;
}

/** Return the text without its markup, for reading aloud. */
export function plainText(text) {
  const page = new DOMParser().parseFromString(renderBlocks(text).join(" "), "text/html");
  page.querySelectorAll(".code-head").forEach((head) => head.remove());
  return page.body.textContent.replace(/\s+/g, " ").trim();
}
