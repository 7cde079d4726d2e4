// Runs before the modules: says so when one of them cannot be fetched, instead of loading forever.
addEventListener(
  "error",
  (event) => {
    const place = document.querySelector("chat-app > .booting");
    if (event.target.localName !== "script" || !place) return;
    place.textContent = "The page could not be loaded completely. Reload it to try again.";
  },
  { capture: true },
);
