/** Syntax colours. A language's grammar is fetched when the first block in it appears; until then its code is plain. */
import hljs from "highlight.js";

import { Observable } from "./observable.js";

// Every grammar in static/vendor/highlight.js/languages with the names people give it.
const NAMES = {
  bash: ["bash", "sh", "shell", "zsh", "console"], c: ["c", "h"], cpp: ["cpp", "c++", "cc", "hpp"], csharp: ["csharp", "cs", "c#"],
  css: ["css"], diff: ["diff", "patch"], dockerfile: ["dockerfile", "docker"], go: ["go", "golang"], graphql: ["graphql", "gql"],
  ini: ["ini", "toml"], java: ["java"], javascript: ["javascript", "js", "jsx", "mjs"], json: ["json", "jsonc"], kotlin: ["kotlin", "kt"],
  lua: ["lua"], makefile: ["makefile", "make"], markdown: ["markdown", "md"], php: ["php"], powershell: ["powershell", "ps1", "pwsh"],
  python: ["python", "py"], r: ["r"], ruby: ["ruby", "rb"], rust: ["rust", "rs"], scss: ["scss"], sql: ["sql", "postgresql", "psql"],
  swift: ["swift"], typescript: ["typescript", "ts", "tsx"], xml: ["xml", "html", "svg"], yaml: ["yaml", "yml"],
};
const GRAMMAR_OF = new Map(Object.entries(NAMES).flatMap(([grammar, names]) => names.map((name) => [name, grammar])));

/** Changes when a grammar has arrived and what was plain can be rendered again. */
export const grammars = new Observable();
const requested = new Set();

function request(grammar) {
  if (requested.has(grammar)) return;
  requested.add(grammar);
  import(`highlight.js/languages/${grammar}.min.js`).then(
    (module) => {
      hljs.registerLanguage(grammar, module.default);
      grammars.changed();
    },
    () => requested.delete(grammar), // asked again by the next block; code without colours is still code
  );
}

// Beyond this length (characters) colouring costs more than it helps.
const LONGEST = 60_000;
const KEPT = 300;
const coloured = new Map();

/** Return the code as HTML with hljs- classes, or escaped by `escape` while (or because) the language is unknown. */
export function highlight(code, language, escape) {
  const grammar = GRAMMAR_OF.get(language);
  if (!grammar || code.length > LONGEST) return escape(code);
  if (!hljs.getLanguage(grammar)) {
    request(grammar);
    return escape(code);
  }
  const key = `${grammar}\n${code}`;
  let html = coloured.get(key);
  if (html === undefined) {
    html = hljs.highlight(code, { language: grammar, ignoreIllegals: true }).value;
    if (coloured.size >= KEPT) coloured.delete(coloured.keys().next().value);
    coloured.set(key, html);
  }
  return html;
}
