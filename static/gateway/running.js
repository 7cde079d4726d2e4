// Keeps the table of running calls fresh: every two seconds, while somebody looks and nobody has paused it.
const EVERY_MS = 2000;
const part = document.getElementById("rc-part");
const pause = document.getElementById("rc-pause");

pause.addEventListener("click", () => {
  const pressed = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(pressed));
  pause.textContent = pressed ? "Paused" : "Pause";
});

// Whoever is about to press a button must not have it replaced under the finger.
const isBusy = () =>
  document.hidden || pause.getAttribute("aria-pressed") === "true" || part.contains(document.activeElement);

async function refresh() {
  if (isBusy()) return;
  try {
    const answer = await fetch(part.dataset.url, { headers: { Accept: "text/html" }, redirect: "error" });
    if (answer.ok && !isBusy()) part.innerHTML = await answer.text();
  } catch {
    // The server is away for a moment; the next turn asks again.
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
