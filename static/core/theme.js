// Runs before the first paint, so that a remembered theme never flashes the other one. "auto" follows the system.
(() => {
  let theme = "auto";
  try {
    theme = localStorage.getItem("portico.theme") || "auto";
  } catch {
    // Storage may be refused; the system's preference is then good enough.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
