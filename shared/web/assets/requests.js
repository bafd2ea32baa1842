// Requests: sending them, waiting, and trying again.

import { base, counted, element, hidden, sentence, service, tell, tellBusy, tellSlow } from "./page.js";

/** Why a request failed, for the user; `transient` if the same request may succeed later. */
export class Failure extends Error {
  constructor(message, transient) {
    super(message);
    this.transient = transient;
  }
}

const PATIENCE = 60; // the longest wait, in seconds, before the page tries again by itself
const LATER = [401, 408, 429]; // besides 5xx: the same request may succeed after signing in, or later

/** POST and return the JSON answer and its `timing`. A 503 or 429 is tried once more when the server says so. */
export async function ask(options, signal) {
  for (let attempt = 1; ; attempt++) {
    await Promise.race([renewTokens?.(attempt > 1), aborted(signal)]);
    const started = performance.now();
    const slow = setTimeout(tellSlow, 3000);
    const exchange = send({ ...options, method: "POST", signal });
    const { response, text } = await exchange.finally(() => clearTimeout(slow));
    const content = parsed(text);
    if (response.ok && content) return { content, timing: timingOf(response, performance.now() - started) };
    const { status } = response;
    const reason = content?.detail ?? content?.message ?? `the server answered ${status} without a reason`;
    const seconds = Number(response.headers.get("Retry-After")) || 2;
    const waits = [429, 503].includes(status) && seconds <= PATIENCE;
    const renews = status === 401 && renewTokens;
    if (attempt > 1 || !(waits || renews)) throw new Failure(withId(reason, content), status >= 500 || LATER.includes(status));
    if (waits) await countdown(seconds, reason, signal);
  }
}

const aborted = (signal) =>
  new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason), { once: true }));

let renewTokens;

/** Have `renew` called before each request; its argument says whether the last token was refused. */
export function renewTokensBy(renew) {
  renewTokens = renew;
}

/** A reason, and the id under which the server's log has the cause, if there is one. */
export const withId = (reason, content) =>
  content?.id ? `${sentence(reason)} The log has the cause under ${content.id}` : reason;

/** The address to call; it asks for an explanation if the function gives any. */
export const address = base + service.path + (service.explains ? "?explain=1" : "");

/** The headers that prove who calls, from the token fields; the page has these if users must sign in. */
export function proofs() {
  const fields = [...document.querySelectorAll("#proofs input")];
  // A copied token may have line breaks or an ellipsis, which a header cannot contain.
  const given = fields.map(({ dataset, value }) => [dataset, value.replaceAll(/[^!-~]+/g, "")]);
  return Object.fromEntries(given.filter(([, value]) => value).map(([to, value]) => [to.header, to.prefix + value]));
}

async function send(options) {
  const headers = { Accept: "application/json", ...proofs(), ...options.headers };
  try {
    const response = await fetch(address, { ...options, headers });
    return { response, text: await response.text() };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("the service could not be reached; check your network connection", true);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Milliseconds by name, from `Server-Timing`; `total` is how long the page waited. */
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
    ("cold" in timing ? ` The model had to be loaded first${cold && `: ${cold}`}.` : "")
  );
}

/** Wait `seconds` and show a countdown; a screen reader reads only the first number. */
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
