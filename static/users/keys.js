/** The keys page: copy a fresh secret, ask before a key is revoked. Both work without this, less comfortably. */

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const status = button.closest("[data-secret]").querySelector("[data-copied]");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    status.textContent = "Copied.";
  } catch {
    // Without https there is no clipboard: select it, so that the keyboard can.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    status.textContent = "Selected. Press Ctrl+C or ⌘C to copy.";
  }
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
