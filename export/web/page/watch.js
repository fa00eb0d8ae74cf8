// Tells of a file of the page that did not load. A script of its own, so that it works where the modules are lost; each of
// them is preloaded, for the browser names only the first module where one of those that it imports is lost.
"use strict";

function tell(text) {
  const message = document.getElementById("message");
  if (!message) {
    addEventListener("DOMContentLoaded", () => tell(text));
    return;
  }
  if (message.hidden) message.textContent = text;
  message.hidden = false;
}

addEventListener("error", (event) => {
  const file = event.target.src || event.target.href;
  if (file) tell(`A file of this page did not load: ${new URL(file).pathname}. Make the page again, or load it again.`);
}, true);
