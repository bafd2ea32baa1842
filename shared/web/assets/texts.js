// Texts: one at a time; each word is tinted by its contribution if the function explains its answers.

import { bar, bars, languageOf, likely, spoken, subjectOf, two, verdict, warnings } from "./answers.js";
import { curlCall, fetchCalls, pythonCall, shellQuoted, showCalls } from "./calls.js";
import { dropLink, linkButton, openLinks } from "./links.js";
import { $, element, percent, service, tellBusy, tellDone, tellError, tellStopped } from "./page.js";
import { Failure, ask, timingText } from "./requests.js";

const FULL_TINT = 1; // log-odds: a word of this weight has the full tint; if one is stronger, the tint is relative to it

let underway = new AbortController();

async function read() {
  underway.abort();
  underway = new AbortController();
  const { signal } = underway;
  const text = $("#text").value;
  const { lang } = $("#text");
  showCalls(() => written(text));
  dropLink("text", text);
  tellBusy("Reading");
  $("#result").ariaBusy = "true";
  const body = JSON.stringify({ [service.json_field]: text });
  try {
    const { content, timing } = await ask({ body, headers: { "Content-Type": "application/json" } }, signal);
    show(text, lang, content);
    $("#timing").textContent = timingText(timing);
  } catch (error) {
    const stopped = error.name === "AbortError";
    if (stopped && underway.signal !== signal) return; // a newer text has replaced this one
    if (!stopped && !(error instanceof Failure)) throw error;
    $("#result").hidden = true;
    $("#timing").textContent = "";
    if (stopped) tellStopped("Cancelled.", read, "Try again");
    else tellError(error.message, error.transient ? read : undefined);
  }
  $("#result").ariaBusy = "false";
}

function show(text, lang, answer) {
  const label = element("p", { className: "verdict", id: "verdict" }, verdict(answer));
  const probability = element("p", { className: "number", id: "probability", textContent: likely(answer) });
  const outcome = element("div", { className: "outcome" }, label, ...(two ? [probability] : []));
  const language = languageOf(answer);
  $("#answer").replaceChildren(
    outcome,
    ...(two ? [bar(answer)] : []),
    ...warnings(answer),
    ...(two ? [] : bars(answer)),
    ...(language ? [element("p", { className: "small", id: "language", textContent: `Language: ${language}` })] : []),
  );
  $("#link").replaceChildren(linkButton("text", text));
  if (service.explains) explain(text, lang, answer);
  $("#result").hidden = false;
  tellDone(spoken(answer));
}

function explain(text, lang, answer) {
  const { explanation, probabilities } = answer;
  const tokens = explanation?.tokens;
  const subject = subjectOf(answer);
  $("#words").lang = lang || (typeof answer.language === "string" ? answer.language : "");
  $("#words").replaceChildren(...(tokens ? tinted(text, tokens, subject) : [text]));
  $("#explained").hidden = !tokens;
  $("#unexplained").hidden = Boolean(explanation);
  if (!tokens) return;
  $("#subject").textContent = subject;
  $("#strongest").textContent = strongest(tokens, subject);
  const complete = Number.isFinite(explanation.intercept) && Number.isFinite(explanation.log_odds);
  $("#sum").textContent = complete ? sum(explanation, probabilities[subject], subject) : "";
}

/** The text with a span for each token; offsets count code points, as the service does. */
function tinted(text, tokens, subject) {
  const points = Array.from(text);
  const between = (from, to) => points.slice(from, to).join("");
  const full = Math.max(FULL_TINT, ...tokens.map((token) => Math.abs(token.log_odds)));
  const parts = [];
  let reached = 0;
  for (const { start, end, log_odds: weight } of tokens) {
    parts.push(between(reached, start), tintedWord(between(start, end), weight / full, weight, subject));
    reached = end;
  }
  return [...parts, between(reached)];
}

function tintedWord(text, share, weight, subject) {
  const made = element("span", { className: weight < -0.0005 ? "word against" : "word", textContent: text });
  made.title = `${signed(weight, 3)} for ${subject}`;
  made.dataset.value = signed(weight, 2);
  made.style.setProperty("--weight", `${38 * Math.abs(share)}%`);
  return made;
}

function signed(value, digits) {
  const size = Math.abs(value).toFixed(digits);
  return (Number(size) === 0 ? "" : value < 0 ? "\u2212" : "+") + size;
}

function strongest(tokens, subject) {
  const quoted = (token) => `\u201c${token.text}\u201d ${signed(token.log_odds, 2)}`;
  const listed = (name, list) => (list.length ? `Most ${name} ${subject}: ${list.map(quoted).join(", ")}.` : "");
  const ordered = tokens.toSorted((a, b) => b.log_odds - a.log_odds);
  const most = ordered.slice(0, 3).filter((token) => token.log_odds > 0.1);
  const least = ordered.toReversed().slice(0, 3).filter((token) => token.log_odds < -0.1);
  return [listed("for", most), listed("against", least)].filter(Boolean).join(" ");
}

function sum({ tokens, intercept, log_odds: total }, probability, subject) {
  const words = tokens.reduce((so_far, token) => so_far + token.log_odds, 0);
  return (
    `Without words ${signed(intercept, 3)}, all words ${signed(words, 3)}, in total ${signed(total, 3)}: ` +
    `${percent(probability)} for ${subject}.`
  );
}

/** The page's request for this text, as code. */
function written(text) {
  const quoted = JSON.stringify(text);
  return {
    curl: curlCall(`--data-urlencode ${shellQuoted(`${service.field}=${text}`)}`),
    python: pythonCall(`text = ${quoted}`, `json={${JSON.stringify(service.json_field)}: text}`),
    ...fetchCalls(
      `const text = ${quoted};`,
      `{
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ ${JSON.stringify(service.json_field)}: text }),
}`,
    ),
  };
}

$("#form").addEventListener("submit", (event) => {
  event.preventDefault();
  read();
});
$("#text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  read();
});
$("#cancel").addEventListener("click", () => underway.abort());
$("#text").addEventListener("input", () => $("#text").removeAttribute("lang")); // no longer the example's
for (const example of document.querySelectorAll("[data-text]")) {
  example.addEventListener("click", () => {
    $("#text").value = example.dataset.text;
    $("#text").lang = example.lang;
    read();
  });
}
if (service.explains) {
  $("#numbers").addEventListener("change", ({ target }) => $("#words").classList.toggle("numbers", target.checked));
  $("#for").style.setProperty("--weight", "26%");
  $("#against").style.setProperty("--weight", "26%");
}
showCalls(() => written(document.querySelector("[data-text]")?.dataset.text ?? "A short text."));
openLinks("text", (text) => {
  $("#text").value = text;
  $("#text").removeAttribute("lang");
  return read;
});
