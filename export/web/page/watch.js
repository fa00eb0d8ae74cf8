// Tells of a file of the page that did not load. A script of its own, so that it works where the modules are lost; each of
// them is preloaded, for the browser names only the first module where one of those that it imports is lost.
"use strict";

function tell(file) {
  const message = document.getElementById("message");
  if (!message) {
    addEventListener("DOMContentLoaded", () => tell(file));
    return;
  }
  const path = new URL(file).pathname;
  if (message.hidden) message.textContent = `A file of this page did not load: ${path}. Make the page again, or load it again.`;
  message.hidden = false;
}

addEventListener("error", ({ target }) => {
  if (target.href) tell(target.href);
  if (target.src) setTimeout(() => tell(target.src), 1000); // it may only be the one that imports the lost one
}, true);
