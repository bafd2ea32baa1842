"use strict";

// The page may be opened below a prefix, and there with or without a slash at its end.
const base = location.origin + location.pathname.replace(/\/*$/, "/");

const $ = (selector) => document.querySelector(selector);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const percent = (value) =>
  value > 0.9995 ? "> 99.9\u00a0%" : value < 0.0005 ? "< 0.1\u00a0%" : `${(100 * value).toFixed(1)}\u00a0%`;
const signed = (value, digits) => {
  const size = Math.abs(value).toFixed(digits);
  return (Number(size) === 0 ? "" : value < 0 ? "\u2212" : "+") + size;
};
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** What a request failed of, in words for the reader; `transient` where the same again may succeed. */
class Failure extends Error {
  constructor(message, transient) {
    super(message);
    this.transient = transient;
  }
}

/** POST and return the JSON answer and its `timing`. A 503 is tried once more when the server says so. */
async function ask(path, options, signal) {
  for (let attempt = 1; ; attempt++) {
    const started = performance.now();
    const slow = setTimeout(tellSlow, 3000);
    const asked = send(base + path, { ...options, method: "POST", signal });
    const { response, text } = await asked.finally(() => clearTimeout(slow));
    const content = parsed(text);
    if (response.ok && content) return { content, timing: timingOf(response, performance.now() - started) };
    const { status } = response;
    const reason = content?.detail ?? content?.message ?? `the server answered ${status}, and not why`;
    if (status !== 503 || attempt > 1) throw new Failure(reason, status >= 500 || status === 429);
    await countdown(Number(response.headers.get("Retry-After")) || 2, reason, signal);
  }
}

async function send(url, options) {
  const headers = { Accept: "application/json", ...options.headers };
  try {
    const response = await fetch(url, { ...options, headers });
    return { response, text: await response.text() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("the service could not be reached; is the network there?", true);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Milliseconds by name, as `Server-Timing` tells them; `total` is what the page waited. */
function timingOf(response, total) {
  const timing = { total };
  for (const entry of (response.headers.get("Server-Timing") ?? "").split(",")) {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    const duration = parameters.find((parameter) => parameter.startsWith("dur="));
    if (name) timing[name] = duration ? Number(duration.slice(4)) : 0;
  }
  return timing;
}

function timingText(timing) {
  const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;
  const told = (...names) =>
    names.filter((name) => name in timing).map((name) => `${name} ${milliseconds(timing[name])}`).join(", ");
  const parts = told("decode", "predict", "explain");
  const cold = told("fetch", "load");
  return (
    `Answered in ${milliseconds(timing.total)}${parts && ` (${parts})`}.` +
    ("cold" in timing ? ` It was a cold start${cold && `: ${cold}`}.` : "")
  );
}

/** The one live region: what is being done, what came of it, or what went wrong. */
function tell(kind, ...children) {
  const news = $("#news");
  news.dataset.kind = kind;
  news.replaceChildren(...children);
}

function tellBusy(text) {
  tell("busy", element("p", { textContent: text }));
}

function tellSlow() {
  $("#news").append(element("p", { textContent: "This takes longer than usual; the model may have to wake up first." }));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");

function tellError(message, again) {
  const retry = element("button", { type: "button", textContent: "Try again", onclick: again });
  tell("error", element("p", { textContent: sentence(message) }), ...(again ? [retry] : []));
}

/** Wait `seconds`, in sight; only the first number is read out. */
async function countdown(seconds, reason, signal) {
  const left = element("span", { className: "number", ariaHidden: "true" });
  const spoken = element("span", { className: "hidden", textContent: `in ${counted(seconds, "second")}` });
  tell("busy", element("p", {}, `${sentence(reason)} Trying again `, spoken, left));
  for (; seconds > 0; seconds--) {
    left.textContent = `in ${seconds} s`;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    signal?.throwIfAborted();
  }
  tellBusy("Trying again");
}

const figureNames = {
  auroc: "AUROC",
  accuracy: "accuracy",
  sensitivity: "of the infected found (sensitivity)",
  specificity: "of the normal cleared (specificity)",
  ece: "calibration error",
  nollysenti_mean_accuracy: "accuracy, mean of the five languages (NollySenti)",
  imdb_accuracy: "accuracy, English (IMDB)",
  nollysenti_ece: "calibration error (NollySenti)",
  imdb_ece: "calibration error (IMDB)",
};

function figure(name, value) {
  const share = /accuracy|sensitivity|specificity/.test(name);
  const text = share ? `${(100 * value).toFixed(1)} %` : value.toFixed(3);
  return element(
    "div",
    {},
    element("dt", { textContent: figureNames[name] ?? name.replaceAll("_", " ") }),
    element("dd", { textContent: text }),
  );
}

/** The status JSON, once it is there; its model and limits hold for every request. */
const status = (async () => {
  const fallback = { model: {}, max_instances: 32, max_body_bytes: 10_000_000 };
  try {
    const { text } = await send(base, { cache: "no-store" });
    const told = { ...fallback, ...parsed(text) };
    showModel(told);
    return told;
  } catch {
    $("#version").textContent = "The model's figures could not be fetched.";
    return fallback;
  }
})();

function showModel({ model, ready }) {
  const metrics = Object.entries(model.metrics ?? {});
  const numbers = metrics.filter(([, value]) => Number.isFinite(value));
  $("#measured").hidden = !numbers.length;
  $("#figures").replaceChildren(...numbers.map(([name, value]) => figure(name, value)));
  const remarks = [`${model.name} ${model.version}`];
  if (model.trained) {
    const day = new Date(`${model.trained}T00:00Z`);
    remarks.push(`trained on ${day.toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" })}`);
  }
  if (metrics.some(([name]) => name === "method")) remarks.push(`figures by ${model.metrics.method}`);
  remarks.push(ready ? "in memory" : "asleep when this page was opened");
  $("#version").textContent = `${remarks.join(" \u00b7 ")}.`;
}

const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

let calls = {};

/** The same request as a program makes it: texts by the value of the radio button that shows them. */
function showCalls(texts) {
  calls = texts;
  $("#call").textContent = calls[$("input[name=call]:checked").value];
}

async function copyCall() {
  const button = $("#copy");
  try {
    await navigator.clipboard.writeText($("#call").textContent);
    button.textContent = "Copied";
  } catch {
    // Without a secure origin there is no clipboard; the selection can still be copied by hand.
    getSelection().selectAllChildren($("#call"));
    button.textContent = "Selected: copy it now";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

$("#copy").addEventListener("click", copyCall);
for (const choice of document.querySelectorAll("input[name=call]")) {
  choice.addEventListener("change", () => showCalls(calls));
}
$("#openapi").href = `${base}openapi.json`;
