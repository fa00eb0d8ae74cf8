// Reports a file of the page that did not load. It is a separate script, so that it works without the modules. Each module is
// preloaded: if an imported module is missing, the browser names only the one that imports it.
"use strict";

function tell(file) {
  const message = document.getElementById("message");
  if (!message) {
    addEventListener("DOMContentLoaded", () => tell(file));
    return;
  }
  const path = new URL(file).pathname;
  const lost = `A file of this page did not load: ${path}. Load the page again. If that does not help, this file is missing on the server.`;
  const disk = "Browsers open this page only from a server. In its folder, run python -m http.server, and open http://localhost:8000";
  if (message.hidden) message.textContent = location.protocol === "file:" ? disk : lost;
  message.hidden = false;
  const waiting = document.getElementById("waiting");
  if (waiting) waiting.textContent = "";
}

addEventListener("error", ({ target }) => {
  if (target.href) tell(target.href);
  if (target.src) setTimeout(() => tell(target.src), 1000); // perhaps this is only the module that imports the missing one
}, true);
