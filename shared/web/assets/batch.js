// Many inputs, split into requests that respect the limits; their table, and its download.

import {
  bar, bars, chance, chanceHeading, labelOf, likely, spoken, two, verdict, warnings, warningsOf, word,
} from "./answers.js";
import { showCalls } from "./calls.js";
import { csvText } from "./csv.js";
import {
  $, counted, element, hidden, percent, service, tell, tellBusy, tellDone, tellError, tellStopped,
} from "./page.js";
import { Failure, ask, timingText, withId } from "./requests.js";

/**
 * How one kind of input is sent and shown.
 * @typedef {object} Kind
 * @property {string} noun what one is called
 * @property {boolean} table whether the results are shown in a table
 * @property {number} overhead bytes of a request without any input
 * @property {(item: object) => number} size the bytes that one input adds
 * @property {(portion: object[]) => object} request the options of `fetch`
 * @property {(portion: object[]) => object} written the same request as code, in each language
 * @property {string[]} headings the headings of the first two columns
 * @property {(item: object) => Element} lead the content of the first column, and of the single card
 * @property {(item: object) => string} name the name of an input
 * @property {(item: object) => string[]} hints the lines below a single answer
 * @property {string[]} fields the first columns of the CSV file
 * @property {(item: object) => (string | number)[]} values the values of these columns
 * @property {string} file the CSV file's name
 */

// A longer table is drawn only once, when it is complete: drawing it after each request would take longer
// than the requests.
const LONG = 1000;

export let items = [];
let kind;
let underway = new AbortController();
let sorting = {};

/** Classify inputs, which replace the previous ones; each is an object of its own. */
export function start(given, kindOfThese) {
  items = given;
  kind = kindOfThese;
  sorting = {};
  classify();
}

/** Send all inputs that have no answer yet and may get one, one request after the other. */
async function classify() {
  underway.abort();
  underway = new AbortController();
  const { signal } = underway;
  const timing = {};
  $("#result").ariaBusy = "true";
  const pending = items.filter(({ answer, error, transient }) => !answer && (!error || transient));
  for (const item of pending) item.error = item.transient = item.row = undefined;
  if (kind.table) showProgress();
  else tellBusy(`Classifying ${counted(items.length, kind.noun)}`);
  const portions = portioned(pending);
  const first = portions[0] ?? items.slice(0, 1);
  showCalls(() => kind.written(first));
  try {
    for (const portion of portions) {
      await classifyPortion(portion, timing, signal);
      signal.throwIfAborted();
      if (kind.table) showProgress();
      if (portion.some((item) => item.transient)) break;
    }
    finish(timing);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    if (underway.signal === signal) stop(timing); // otherwise newer inputs have replaced these
  }
}

$("#cancel").addEventListener("click", () => underway.abort());

/** Show that the user has cancelled; the answers so far stay. */
function stop(timing) {
  const done = items.filter(({ answer, error }) => answer || error).length;
  showOutcome(timing, "not sent, because you cancelled");
  tellStopped(`Cancelled: ${done} of ${counted(items.length, kind.noun)} done.`, classify, done ? "Go on" : "Try again");
}

const megabytes = (count) => `${(count / 1e6).toFixed(1)} MB`;

/** Split inputs into requests within the limits, in order; an input too large for any request fails here. */
function portioned(pending) {
  const limit = service.max_body_bytes;
  const portions = [];
  let room = 0;
  for (const item of pending) {
    const bytes = kind.size(item);
    if (bytes + kind.overhead > limit) {
      item.error = `the ${kind.noun} has ${megabytes(bytes)}; expected less than ${megabytes(limit)}`;
      item.row = undefined;
      continue;
    }
    if (bytes > room || portions.at(-1).length === service.max_instances) {
      portions.push([]);
      room = limit - kind.overhead;
    }
    portions.at(-1).push(item);
    room -= bytes;
  }
  return portions;
}

async function classifyPortion(portion, timing, signal) {
  try {
    const { content, timing: more } = await ask(kind.request(portion), signal);
    for (const [name, value] of Object.entries(more)) timing[name] = (timing[name] ?? 0) + value;
    const answers = content.predictions ?? [content];
    if (answers.length !== portion.length) {
      throw new Failure(`expected an answer for each ${kind.noun}: ${portion.length} were sent, ${counted(answers.length, "answer")} came back`, false);
    }
    portion.forEach((item, index) => {
      item.row = undefined;
      if (answers[index].error === "0") item.answer = answers[index];
      else item.error = withId(answers[index].message, answers[index]);
      item.transient = false;
    });
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const { message, transient } = error;
    for (const item of portion) Object.assign(item, { error: message, transient, row: undefined });
  }
}

function showProgress() {
  const done = items.filter((item) => item.answer || item.error).length;
  const text = `${done} of ${counted(items.length, kind.noun)}`;
  const progress = element("progress", { max: items.length, value: done, ariaLabel: "Answered" });
  tell("busy", element("p", { textContent: text }), progress);
  if (items.length < LONG) showTable();
}

function finish(timing) {
  const failed = items.find((item) => item.transient);
  showOutcome(timing, "not sent, because the previous request failed");
  const [first] = items;
  const name = kind.name(first);
  const again = items.filter((item) => item.transient).length;
  if (failed) tellError(failed.error, classify, kind.table ? `Send ${counted(again, kind.noun)} again` : "Try again");
  else if (!kind.table && first.error) tellError(name ? `\u201c${name}\u201d: ${first.error}` : first.error);
  else if (kind.table) tellDone(tally().map(([count, text]) => `${count} ${text}`).join(", "));
  else tellDone(`${name && `${name}: `}${spoken(first.answer)}`);
}

/** Show the results so far; `reason` says why the other inputs were not sent. */
function showOutcome(timing, reason) {
  for (const item of items) {
    if (item.answer || item.error) continue;
    Object.assign(item, { error: reason, transient: true, row: undefined });
  }
  $("#timing").textContent = timing.total === undefined ? "" : timingText(timing);
  if (kind.table) showTable();
  else if (items[0].answer) showSingle(items[0]);
  else $("#result").hidden = true;
  $("#result").ariaBusy = "false";
}

/** How many inputs have each label: for two labels both counts, for more only those that occur. */
function tally() {
  const counts = new Map(two ? service.labels.toReversed().map((label) => [label, 0]) : []);
  for (const { answer } of items) if (answer) counts.set(labelOf(answer), (counts.get(labelOf(answer)) ?? 0) + 1);
  const named = (label) => (Object.hasOwn(service.words, label) ? word(label) : `\u00d7 ${short(label)}`); // not "2 7"
  const labels = [...counts].map(([label, count]) => [count, named(label)]);
  if (!two) labels.sort(([a], [b]) => b - a);
  const others = labels.splice(8).reduce((sum, [count]) => sum + count, 0);
  const doubtful = items.filter(({ answer }) => warningsOf(answer).length).length;
  const failed = items.filter(({ answer, error }) => !answer && error).length;
  if (others) labels.push([others, "others"]);
  return [...labels, ...(doubtful ? [[doubtful, "in doubt"]] : []), [failed, "failed"]];
}

const short = (label) => (label.length > 40 ? `${label.slice(0, 39)}\u2026` : label);

function show(...children) {
  $("#result").replaceChildren(...children);
  $("#result").hidden = false;
}

function showSingle(item) {
  const { answer } = item;
  const name = kind.name(item);
  const number = element("p", { className: "number", textContent: likely(answer) });
  const details = element(
    "div",
    {},
    ...(name ? [element("p", { className: "small file", textContent: name })] : []),
    element("p", { className: "verdict" }, verdict(answer)),
    ...(two ? [bar(answer), number] : []),
    ...warnings(answer),
    ...(two ? [] : bars(answer)),
    ...kind.hints(item).map((textContent) => element("p", { className: "small hint", textContent })),
  );
  const lead = kind.lead(item);
  show(element("div", { className: lead ? "card single" : "card" }, ...(lead ? [lead] : []), details));
}

/** For each heading, the value of an input by which the table is sorted. */
const sortable = () => ({
  [kind.headings[1]]: (item) => kind.name(item),
  Result: ({ answer, error }) => (answer ? labelOf(answer) : error ? "Failed" : ""),
  [chanceHeading]: ({ answer }) => (answer ? chance(answer) : -1),
});

function showTable() {
  const counts = tally().flatMap(([count, name], index) => [
    index ? " \u00b7 " : "",
    element("b", { className: "number", textContent: count }),
    ` ${name}`,
  ]);
  const csv = element("button", { type: "button", id: "csv", textContent: "Download as CSV", onclick: download });
  const caption = element("caption", { className: "hidden", textContent: `The ${kind.noun}s, one a row` });
  const first = element("th", { scope: "col" }, hidden(kind.headings[0]));
  const head = element("tr", {}, first, ...Object.keys(sortable()).map((key) => heading(key)));
  const body = sorted().map((item) => (item.row ??= row(item)));
  show(
    element("div", { className: "head" }, element("p", { id: "counts" }, ...counts), csv),
    element("table", { className: `${kind.noun}s ${two ? "" : "several"}` }, caption, element("thead", {}, head), element("tbody", {}, ...body)),
  );
}

function heading(key) {
  const button = element("button", { type: "button", textContent: key, onclick: () => sortBy(key) });
  const made = element("th", { scope: "col" }, button);
  made.ariaSort = sorting.key !== key ? "none" : sorting.descending ? "descending" : "ascending";
  return made;
}

/** Sort ascending, then descending, then in the original order again. */
function sortBy(key) {
  if (sorting.key !== key) sorting = { key, descending: false };
  else sorting = sorting.descending ? {} : { key, descending: true };
  showTable();
  $(`thead th:nth-child(${2 + Object.keys(sortable()).indexOf(key)}) button`).focus();
}

function sorted() {
  if (!sorting.key) return items;
  const value = sortable()[sorting.key];
  const order = sorting.descending ? -1 : 1;
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  return items.toSorted((a, b) => order * compare(value(a), value(b)));
}

function row(item) {
  const { answer, error } = item;
  const made = element("tr", {}, element("td", {}, kind.lead(item)));
  made.append(element("td", { className: "name", textContent: kind.name(item) }));
  if (!answer) {
    const text = error ? `Failed: ${error}` : "Waiting";
    made.append(element("td", { className: error ? "why" : "small", colSpan: 2, textContent: text }));
    return made;
  }
  made.append(
    element("td", { className: "label" }, verdict(answer), ...warnings(answer)),
    element("td", {}, element("span", { className: "number", textContent: percent(chance(answer)) }), bar(answer)),
  );
  return made;
}

function download() {
  // Spreadsheets read the file as UTF-8 only if it begins with a byte-order mark.
  const url = URL.createObjectURL(new Blob(["\ufeff", csvText(items, kind)], { type: "text/csv;charset=utf-8" }));
  element("a", { href: url, download: kind.file }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
