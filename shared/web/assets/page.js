// What the pages of all functions share. See page.py for how the modules become one script.

/** What the server says of the function. */
export const service = JSON.parse(document.querySelector("#service").textContent);

// The page may be opened below a prefix, and there with or without a slash at its end.
export const base = location.origin + location.pathname.replace(/\/*$/, "/");

export const $ = (selector) => document.querySelector(selector);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export const hidden = (text) => element("span", { className: "hidden", textContent: text });

export const percent = (value) =>
  value > 0.9995 ? "> 99.9\u00a0%" : value < 0.0005 ? "< 0.1\u00a0%" : `${(100 * value).toFixed(1)}\u00a0%`;
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** What a request failed of, in words for the reader; `transient` if the same request may succeed later. */
export class Failure extends Error {
  constructor(message, transient) {
    super(message);
    this.transient = transient;
  }
}

/** POST and return the JSON answer and its `timing`. A 503 is tried once more when the server says so. */
export async function ask(options, signal) {
  for (let attempt = 1; ; attempt++) {
    const started = performance.now();
    const slow = setTimeout(tellSlow, 3000);
    const asked = send({ ...options, method: "POST", signal });
    const { response, text } = await asked.finally(() => clearTimeout(slow));
    const content = parsed(text);
    if (response.ok && content) return { content, timing: timingOf(response, performance.now() - started) };
    const { status } = response;
    const reason = content?.detail ?? content?.message ?? `the server answered ${status}, and not why`;
    if (status !== 503 || attempt > 1) throw new Failure(withId(reason, content), status >= 500 || status === 429);
    await countdown(Number(response.headers.get("Retry-After")) || 2, reason, signal);
  }
}

/** A reason, and if there is an id by which the server's log tells more, that. */
export const withId = (reason, content) =>
  content?.id ? `${sentence(reason)} The log knows more under ${content.id}` : reason;

/** The address that is asked, with an explanation if the function gives any. */
export const address = base + service.path + (service.explains ? "?explain=1" : "");

async function send(options) {
  const headers = { Accept: "application/json", ...options.headers };
  try {
    const response = await fetch(address, { ...options, headers });
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

/** Milliseconds by name, from `Server-Timing`; `total` is what the page waited. */
function timingOf(response, total) {
  const timing = { total };
  for (const entry of (response.headers.get("Server-Timing") ?? "").split(",")) {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    const duration = parameters.find((parameter) => parameter.startsWith("dur="));
    if (name) timing[name] = duration ? Number(duration.slice(4)) : 0;
  }
  return timing;
}

const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;

export function timingText(timing) {
  const listed = (...names) =>
    names.filter((name) => name in timing).map((name) => `${name} ${milliseconds(timing[name])}`).join(", ");
  const parts = listed("decode", "predict", "explain");
  const cold = listed("fetch", "load");
  return (
    `Answered in ${milliseconds(timing.total)}${parts && ` (${parts})`}.` +
    ("cold" in timing ? ` It was a cold start${cold && `: ${cold}`}.` : "")
  );
}

/** The one live region: what is being done, what came of it, or what went wrong. */
export function tell(kind, ...children) {
  const news = $("#news");
  news.dataset.kind = kind;
  news.replaceChildren(...children);
}

export function tellBusy(text) {
  tell("busy", element("p", { textContent: text }));
}

function tellSlow() {
  $("#news").append(element("p", { textContent: "This takes longer than usual; the model may have to wake up first." }));
}

/** Read out what came of it; it is seen elsewhere. */
export function tellDone(text) {
  tell("done", element("p", { className: "hidden", textContent: text }));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");

export function tellError(message, again) {
  const retry = element("button", { type: "button", textContent: "Try again", onclick: again });
  tell("error", element("p", { textContent: sentence(message) }), ...(again ? [retry] : []));
}

/** Wait `seconds`, in sight; only the first number is read out. */
async function countdown(seconds, reason, signal) {
  const left = element("span", { className: "number", ariaHidden: "true" });
  const first = hidden(`in ${counted(seconds, "second")}`);
  tell("busy", element("p", {}, `${sentence(reason)} Trying again `, first, left));
  for (; seconds > 0; seconds--) {
    left.textContent = `in ${seconds} s`;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    signal?.throwIfAborted();
  }
  tellBusy("Trying again");
}

// An answer.

export const two = service.labels.length === 2;
export const labelOf = (answer) => answer[service.key];
export const warningsOf = (answer) => answer?.warnings ?? [];

/** A label within a sentence. */
export const word = (label) => (Object.hasOwn(service.words, label) ? service.words[label] : label);

/** The label whose probability is shown: of two, the one that is looked for, if there is such a one. */
const shownOf = (answer) => (two && service.shown) || labelOf(answer);
export const chance = (answer) => answer.probabilities[shownOf(answer)];

/** The label that the numbers of an explanation speak for. */
export const subjectOf = (answer) => (two ? service.labels[1] : labelOf(answer));

export const likely = (answer) =>
  `${percent(chance(answer))} likely${two && service.shown ? ` ${word(service.shown)}` : ""}`;

/** How an answer is tinted: none that is in doubt looks like one that is sure. */
function tone(answer) {
  if (warningsOf(answer).length) return "unsure";
  return labelOf(answer) === service.warm ? "warm" : "";
}

/** The label, with a mark that is filled if it is the one that is looked for. */
export function verdict(answer) {
  const mark = element("span", { className: "mark", ariaHidden: "true" });
  const parts = two && service.shown ? [mark, labelOf(answer)] : [labelOf(answer)];
  if (warningsOf(answer).length) parts.push(" ", element("span", { className: "badge", textContent: "in doubt" }));
  return element("span", { className: tone(answer) }, ...parts);
}

/** What speaks against relying on an answer; nothing if nothing does. */
export function warnings(answer) {
  const list = warningsOf(answer).map(({ message }) => element("li", { textContent: sentence(message) }));
  return list.length ? [element("ul", { className: "warnings" }, ...list)] : [];
}

/** An answer as it is read out. */
export function spoken(answer) {
  const doubts = warningsOf(answer).map(({ message }) => `. In doubt: ${message}`);
  return `${labelOf(answer)}, ${likely(answer)}${doubts.join("")}`;
}

function track(value, className) {
  const fill = element("i");
  fill.style.width = `${100 * value}%`;
  return element("div", { className: `bar ${className}` }, fill);
}

export const bar = (answer) => track(chance(answer), tone(answer));

const FEW = 10; // of more than FEW + 2 labels these are shown first: to hide one or two saves no room

/** The probabilities of all labels, the likeliest first. */
export function bars(answer) {
  const labels = Object.keys(answer.probabilities);
  labels.sort((a, b) => answer.probabilities[b] - answer.probabilities[a]);
  const few = labels.length > FEW + 2 ? FEW : labels.length;
  const rows = labels.map((label, index) => {
    const value = answer.probabilities[label];
    const answered = label === labelOf(answer);
    const name = element("span", { className: "name", title: label, textContent: label });
    const number = element("span", { className: "number", textContent: percent(value) });
    const className = answered ? tone(answer) : "rest";
    return element("li", { className: answered ? "answered" : "", hidden: index >= few }, name, track(value, className), number);
  });
  const list = element("ol", { className: "bars", ariaLabel: "Probabilities" }, ...rows);
  return few < rows.length ? [list, showAll(rows.slice(few))] : [list];
}

function showAll(rest) {
  const button = element("button", { type: "button", className: "all", textContent: `Show ${counted(rest.length, "more label")}` });
  button.onclick = () => {
    for (const row of rest) row.hidden = false;
    rest[0].tabIndex = -1;
    rest[0].focus();
    button.remove();
  };
  return button;
}

// The calls.

export const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

let calls = {};

/** The same request as a program makes it: texts by the value of the radio button that shows them. */
export function showCalls(texts) {
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

/** A call of curl, with what is sent as further arguments. */
export const curlCall = (...parts) => [`curl -s ${shellQuoted(address)}`, ...parts].join(" \\\n  ");

/** A call with Python's requests, which is given these arguments after `lines` have made them. */
export const pythonCall = (lines, given) => `import requests

${lines}
answer = requests.post(${JSON.stringify(address)}, ${given})
print(answer.json())`;

/** A call with fetch, which is given these options after `lines` have made them. */
export const javascriptCall = (lines, options) => `// on another site only where ALLOWED_ORIGINS names it
${lines}
const response = await fetch(${JSON.stringify(address)}, ${options});
console.log(await response.json());`;

$("#copy").addEventListener("click", copyCall);
for (const choice of document.querySelectorAll("input[name=call]")) {
  choice.addEventListener("change", () => showCalls(calls));
}
$("#openapi").href = `${base}openapi.json`;
