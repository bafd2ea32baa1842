// An answer, as every page shows it.

import { counted, element, percent, sentence, service } from "./page.js";

export const two = service.labels.length === 2;
export const labelOf = (answer) => answer[service.key];
export const warningsOf = (answer) => answer?.warnings ?? [];

/** A label within a sentence. */
export const word = (label) => (Object.hasOwn(service.words, label) ? service.words[label] : label);

/** The label whose probability is shown: of two labels, the one that the page looks for, if it names one. */
const shownOf = (answer) => (two && service.shown) || labelOf(answer);
export const chance = (answer) => answer.probabilities[shownOf(answer)];

/** The label that the numbers of an explanation speak for. */
export const subjectOf = (answer) => (two ? service.labels[1] : labelOf(answer));

export const likely = (answer) => `${percent(chance(answer))} likely ${word(shownOf(answer))}`;

/** The heading of a column of probabilities. */
export const chanceHeading = `Probability of ${two && service.shown ? word(service.shown) : "the result"}`;

const LANGUAGES = { pcm: "Nigerian Pidgin" }; // that not every browser can name

/** The language of a text in words, if the answer says it. */
export function languageOf({ language }) {
  if (typeof language !== "string") return "";
  try {
    return LANGUAGES[language] ?? new Intl.DisplayNames("en", { type: "language" }).of(language);
  } catch {
    return language;
  }
}

/** The colour of an answer: one in doubt must not look like a sure one. */
function tone(answer) {
  if (warningsOf(answer).length) return "unsure";
  return labelOf(answer) === service.warm ? "warm" : "";
}

/** The label, with a mark, which is filled if the page looks for this label. */
export function verdict(answer) {
  const mark = element("span", { className: "mark", ariaHidden: "true" });
  const parts = two && service.shown ? [mark, labelOf(answer)] : [labelOf(answer)];
  if (warningsOf(answer).length) parts.push(" ", element("span", { className: "badge", textContent: "in doubt" }));
  return element("span", { className: tone(answer) }, ...parts);
}

/** The warnings of an answer as a list; nothing if there are none. */
export function warnings(answer) {
  const list = warningsOf(answer).map(({ message }) => element("li", { textContent: sentence(message) }));
  return list.length ? [element("ul", { className: "warnings" }, ...list)] : [];
}

/** An answer as a screen reader reads it. */
export function spoken(answer) {
  const language = languageOf(answer) && `, in ${languageOf(answer)}`;
  const doubts = warningsOf(answer).map(({ message }) => `. In doubt: ${message}`);
  return `${labelOf(answer)}, ${likely(answer)}${language}${doubts.join("")}`;
}

function track(value, className) {
  const fill = element("i");
  fill.style.width = `${100 * value}%`;
  return element("div", { className: `bar ${className}` }, fill);
}

export const bar = (answer) => track(chance(answer), tone(answer));

const FEW = 10; // with more than FEW + 2 labels, so many are shown at first; hiding one or two would save no space

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
  const heading = element("p", { className: "small above", textContent: "Probability of each label" });
  const list = element("ol", { className: "bars", ariaLabel: "Probability of each label" }, ...rows);
  return [heading, list, ...(few < rows.length ? [showAll(rows.slice(few))] : [])];
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
