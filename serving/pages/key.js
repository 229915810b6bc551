"use strict";

// Keeps the key in this tab, so that a reload and the requests of the other pages need no second entry.
const STORED = "ratchet-key";
const form = document.getElementById("key-form");
const field = document.getElementById("key");
form.addEventListener("submit", () => sessionStorage.setItem(STORED, field.value));

const stored = sessionStorage.getItem(STORED);
if ("refused" in form.dataset) {
  sessionStorage.removeItem(STORED);
} else if (stored) {
  field.value = stored;
  form.submit();
}
