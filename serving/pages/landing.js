"use strict";

const STORED = "ratchet-key";
const MOST_BARS = 12;
const byId = (id) => document.getElementById(id);
const form = byId("record");
const version = document.querySelector("main").dataset.version;
history.replaceState(null, "", location.href); // a reload does not send the form with the key again

// Times: in the time zone of the browser, and relative.

const ABSOLUTE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
for (const time of document.querySelectorAll("time")) {
  const at = new Date(time.dateTime);
  const seconds = (at - Date.now()) / 1000;
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) || ["second", 1];
  const ago = Math.abs(seconds) < 10 ? "now" : RELATIVE.format(Math.round(seconds / length), unit);
  time.title = time.textContent;
  time.textContent = `${ABSOLUTE.format(at)} (${ago})`;
}

// Requests

class Refusal extends Error {
  constructor(status, body) {
    super(sentence(body.error || `the service answered with status ${status}`));
    this.status = status;
    this.details = body.details || [];
  }
}

async function send(path, value) {
  const headers = { "content-type": "application/json" };
  const key = sessionStorage.getItem(STORED);
  if (key) headers["x-api-key"] = key;
  let response;
  try {
    response = await fetch(path, { method: "POST", headers, body: JSON.stringify(value) });
  } catch {
    throw new Refusal(0, { error: "the service did not answer: check that it runs, and send the form again" });
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) throw new Refusal(401, { error: "the key is not valid any more: reload this page and enter another one" });
  if (!response.ok) throw new Refusal(response.status, body);
  return body;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// The record: an empty field is left out, and a text that is no number is sent as it is, for the service to refuse.

function controls() {
  return [...form.querySelectorAll("[data-kind]")];
}

function valueOf(control) {
  const text = control.value.trim();
  switch (control.dataset.kind) {
    case "boolean":
      return text === "true";
    case "number":
      return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) && Number.isFinite(Number(text)) ? Number(text) : text;
    case "choice":
    case "text":
      return control.value;
    default:
      return text;
  }
}

function record() {
  // Without a prototype, so that a feature may have any name.
  const found = Object.create(null);
  for (const control of controls()) if (control.value !== "") found[control.name] = valueOf(control);
  return found;
}

// Errors, each at its field

function messageFor(control, message) {
  if (control.value.trim() === "") return "Enter a value: it was never missing in the training data.";
  if (control.dataset.kind === "number" && message.includes("valid number")) return `Enter a number, such as ${control.dataset.example}.`;
  if (/or equal to -?3\.?402823/.test(message)) return "Enter a number that is nearer to zero: this one is too large for the model.";
  return sentence(message);
}

function show(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}

function clearErrors() {
  show(byId("form-error"), "");
  for (const control of controls()) {
    control.removeAttribute("aria-invalid");
    show(byId(`${control.id}-error`), "");
  }
}

function showErrors(error) {
  const others = [];
  let first = null;
  for (const { field, message } of error.details || []) {
    const control = controls().find((one) => one.name === field);
    if (control) {
      control.setAttribute("aria-invalid", "true");
      show(byId(`${control.id}-error`), messageFor(control, message));
      first = first || control;
    } else {
      others.push(sentence(`${field}: ${message}`));
    }
  }
  if (others.length) others.push("If the model has changed, reload this page.");
  if (first) others.unshift("The values that are marked above were not accepted.");
  show(byId("form-error"), others.length ? others.join(" ") : error.message);
  if (first) first.focus();
}

// The result

const PLAIN = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function bars(rows, largest) {
  const table = document.createElement("table");
  table.className = "bars";
  for (const { name, value, text } of rows) {
    const row = table.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    const cell = row.insertCell();
    cell.className = "bar";
    const track = document.createElement("span");
    track.className = "track";
    const bar = document.createElement("span");
    const size = largest ? Math.abs(value) / largest : 0;
    if (rows.isSigned) {
      bar.style.left = `${50 - (value < 0 ? 50 * size : 0)}%`;
      bar.style.width = `${50 * size}%`;
      if (value < 0) bar.className = "minus";
    } else {
      bar.style.width = `${100 * size}%`;
    }
    track.append(bar);
    cell.append(track);
    row.insertCell().textContent = text;
  }
  return table;
}

function showPrediction(answer, milliseconds) {
  byId("prediction").textContent =
    typeof answer.prediction === "number" ? PLAIN.format(answer.prediction) : String(answer.prediction);
  const probabilities = Object.entries(answer.probabilities || {}).sort((a, b) => b[1] - a[1]);
  const rows = probabilities.slice(0, MOST_BARS).map(([name, value]) => ({ name, value, text: `${(100 * value).toFixed(1)} %` }));
  byId("probabilities").replaceChildren(...(rows.length ? [bars(rows, 1)] : []));
  byId("prediction-id").textContent = answer.prediction_id;
  const other = answer.model.version === version ? "" : `; version ${answer.model.version} answered: reload this page to see its state`;
  byId("took").textContent = `answered in ${Math.round(milliseconds)} ms${other}`;
  show(byId("feedback-error"), "");
  byId("explanation").textContent = "Computing the contributions of the features…";
  byId("contributions").replaceChildren();
  byId("result").hidden = false;
}

function showExplanation(found) {
  const sorted = Object.entries(found.contributions).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const signed = (value) => (value < 0 ? "−" : "+") + PLAIN.format(Math.abs(value));
  const rows = sorted.slice(0, MOST_BARS).map(([name, value]) => ({ name, value, text: signed(value) }));
  const rest = sorted.slice(MOST_BARS);
  if (rest.length) {
    const value = rest.reduce((sum, [, one]) => sum + one, 0);
    rows.push({ name: `${rest.length} other features`, value, text: signed(value) });
  }
  rows.isSigned = true;
  const what = found.probabilities ? `The probability of ${found.prediction}` : "The prediction";
  byId("explanation").textContent =
    `${what} is ${PLAIN.format(found.output)}. Its mean over typical rows is ${PLAIN.format(found.base)}; the features add the rest.`;
  byId("contributions").replaceChildren(bars(rows, Math.max(...rows.map(({ value }) => Math.abs(value)))));
}

async function predict(event) {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  clearErrors();
  try {
    const values = record();
    const started = performance.now();
    showPrediction(await send("predict", values), performance.now() - started);
    byId("result").scrollIntoView({ block: "nearest" });
    await send("explain", values).then(showExplanation, (error) => {
      byId("explanation").textContent = `There is no explanation. ${error.message}`;
    });
  } catch (error) {
    byId("result").hidden = true;
    showErrors(error);
  } finally {
    button.disabled = false;
  }
}

async function openFeedback() {
  show(byId("feedback-error"), "");
  try {
    const link = await send("feedback/links", { prediction_id: byId("prediction-id").textContent });
    location.assign(link.url.replace(/^\//, "")); // relative, for a service behind a prefix
  } catch (error) {
    show(byId("feedback-error"), error.message);
  }
}

form.addEventListener("submit", predict);
byId("feedback").addEventListener("click", openFeedback);
form.hidden = false;
byId("needs-script").hidden = true;
