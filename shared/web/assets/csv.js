// The CSV file of a batch.

import { chance, labelOf, two, warningsOf, word } from "./answers.js";
import { service } from "./page.js";

/** A field that no spreadsheet reads as a formula, whatever a file or a label is called. */
function csvField(value) {
  const text = String(value ?? "");
  const harmless = typeof value === "string" && /^[\s]*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
}

/** The answers to inputs of one kind: see `Kind`. */
export function csvText(items, kind) {
  const one = two && service.shown;
  const probabilities = one ? [service.shown] : service.labels;
  const header = [
    ...kind.fields, "result", ...(one ? [] : ["result_probability"]),
    ...probabilities.map((label) => `probability_${word(label)}`), "warnings", "error",
  ];
  const rows = items.map((item) => {
    const { answer, error } = item;
    return [
      ...kind.values(item), answer ? word(labelOf(answer)) : "failed", ...(one ? [] : [answer && chance(answer)]),
      ...probabilities.map((label) => answer?.probabilities[label]),
      warningsOf(answer).map(({ code }) => code).join("; "), error,
    ];
  });
  return [header, ...rows].map((fields) => fields.map(csvField).join(",") + "\r\n").join("");
}
