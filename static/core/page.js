/** What every page has: the theme switch, menus that close when one looks away, messages that can be dismissed. */

const THEMES = ["auto", "light", "dark"];
const NAMES = { auto: "system", light: "light", dark: "dark" };

const currentTheme = () => document.documentElement.dataset.theme || "auto";

/** Make the theme switches under `root` say what is chosen. Pages that add a switch later call this themselves. */
export function showTheme(root = document) {
  const theme = currentTheme();
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  for (const button of root.querySelectorAll("[data-theme-toggle]")) {
    button.dataset.state = theme;
    button.title = `Theme: ${NAMES[theme]}`;
    button.setAttribute("aria-label", `Theme: ${NAMES[theme]}. Switch to ${NAMES[next]}.`);
  }
}

function cycleTheme() {
  const theme = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("portico.theme", theme);
  } catch {
    // Not remembered, but it holds for this page.
  }
  showTheme();
}

showTheme();

document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-theme-toggle]")) cycleTheme();
  const dismiss = event.target.closest?.("[data-dismiss]");
  if (dismiss) dismiss.closest(".alert")?.remove();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
  event.stopPropagation();
}, true);
