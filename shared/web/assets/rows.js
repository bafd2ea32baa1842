// Rows: one from a form, or a table as CSV.

import { start } from "./batch.js";
import { curlCall, fetchCalls, pythonCall, shellQuoted, showCalls } from "./calls.js";
import { dropLink, linkButton, openLinks } from "./links.js";
import { $, element, service, tellError } from "./page.js";

const fields = Array.from(document.querySelectorAll("[data-column]"));

/** A number or null, as the service reads CSV; the service itself refuses any other text. */
function valueOf(text) {
  const cell = text.trim();
  if (/^(?:null|nan|na)?$/i.test(cell)) return null;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(cell) ? Number(cell) : text;
}

const one = {
  noun: "row",
  table: false,
  overhead: 0,
  size: ({ given }) => JSON.stringify(given).length,
  request: ([{ given }]) => json({ [service.json_field]: given }),
  written: ([{ given }]) => writtenRow(given),
  lead: () => null,
  name: () => "",
  hints: () => [],
};

const json = (content) => ({ body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });

function classifyForm() {
  const row = Object.fromEntries(fields.map((field) => [field.dataset.column, valueOf(field.value)]));
  offerLink("row", JSON.stringify(fields.map((field) => field.value)));
  start([{ given: row }], one);
}

/**
 * The records of CSV (RFC 4180), each a list of fields; blank lines are ignored. Some spreadsheets use
 * semicolons instead of commas, and all copy tabs to the clipboard.
 */
function records(text) {
  const [first] = text.trimStart().split("\n", 1);
  const separator = [",", ";", "\t"].find((each) => first.includes(each)) ?? ",";
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|([^${separator}\\r\\n]*))(${separator}|\\r?\\n|\\r|$)`, "y");
  const lines = [[]];
  while (field.lastIndex < text.length) {
    const at = field.lastIndex;
    const match = field.exec(text);
    if (!match) throw new SyntaxError(`expected a comma or a new line after the quoted field at character ${at + 1}`);
    const [, quoted, plain, end] = match;
    lines.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== separator) lines.push([]);
    else if (field.lastIndex === text.length) lines.at(-1).push("");
  }
  return lines.filter((record) => record.length > 1 || record[0]?.trim());
}

const csvValue = (text) => (/[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csvLine = (record) => `${record.map(csvValue).join(",")}\n`;

/** The `Kind` of a table's rows; `header` is null if the table has none. */
function table(header, width) {
  const type = `text/csv; header=${header ? "present" : "absent"}`;
  const opening = header ? csvLine(header) : "";
  const csv = (portion) => opening + portion.map(({ record }) => csvLine(record)).join("");
  const names = header ?? Array.from({ length: width }, (_, index) => `column ${index + 1}`);
  return {
    noun: "row",
    table: true,
    overhead: new Blob([opening]).size,
    size: ({ record }) => new Blob([csvLine(record)]).size,
    request: (portion) => ({ body: csv(portion), headers: { "Content-Type": type } }),
    written: (portion) => writtenTable(csv(portion), type),
    headings: ["Row", "Values"],
    lead: ({ number }) => element("span", { className: "small number", textContent: number }),
    name: ({ record }) => record.map((text) => text.trim() || "\u2013").join(", "),
    hints: () => [],
    fields: names,
    values: ({ record }) => names.map((_, index) => valueOf(record[index] ?? "")),
    file: "rows.csv",
  };
}

function classifyTable() {
  try {
    const rows = records($("#table").value.replace(/^\ufeff/, ""));
    const header = rows[0]?.some((text) => typeof valueOf(text) === "string") ? rows.shift() : null;
    if (!rows.length) throw new SyntaxError("expected a line with the columns' names, and a line for each row");
    offerLink("table", $("#table").value);
    start(rows.map((record, index) => ({ record, number: index + 1 })), table(header, rows[0].length));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    tellError(error.message);
  }
}

function offerLink(name, value) {
  for (const other of ["row", "table"]) dropLink(other, other === name ? value : null);
  $("#link").replaceChildren(linkButton(name, value));
}

/** The values of the fields in a link; an empty list if the link is not one of ours. */
function linkedRow(text) {
  try {
    const values = JSON.parse(text);
    return Array.isArray(values) ? values.map(String) : [];
  } catch {
    return [];
  }
}

const python = (value) => (value === null ? "None" : JSON.stringify(value));

function writtenRow(row) {
  const name = JSON.stringify(service.json_field);
  const members = Object.entries(row).map(([column, value]) => `${JSON.stringify(column)}: ${python(value)}`);
  return {
    curl: curlCall(
      "-H 'Content-Type: application/json'",
      `--data-raw ${shellQuoted(JSON.stringify({ [service.json_field]: row }))}`,
    ),
    python: pythonCall(`row = {${members.join(", ")}}`, `json={${name}: row}`),
    ...fetchCalls(
      `const row = ${JSON.stringify(row)};`,
      `{
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ ${name}: row }),
}`,
    ),
  };
}

function writtenTable(csv, type) {
  const quoted = JSON.stringify(csv);
  const headers = JSON.stringify({ "Content-Type": type });
  return {
    curl: curlCall(`-H 'Content-Type: ${type}'`, `--data-binary ${shellQuoted(csv)}`),
    python: pythonCall(`rows = ${quoted}`, `data=rows.encode(), headers=${headers}`),
    ...fetchCalls(`const body = ${quoted};`, `{ method: "POST", headers: ${headers}, body }`),
  };
}

$("#form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  classifyForm();
});
$("#many").addEventListener("submit", (event) => {
  event.preventDefault();
  classifyTable();
});
$("#choose").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  target.value = ""; // so that the same file can be chosen again
  $("#table").value = await file.text();
  classifyTable();
});
for (const example of document.querySelectorAll("[data-row]")) {
  const row = JSON.parse(example.dataset.row);
  example.addEventListener("click", () => {
    fields.forEach((field, index) => {
      field.value = (Array.isArray(row) ? row[index] : row[field.dataset.column]) ?? "";
    });
    classifyForm();
  });
}
const names = fields.map((field) => field.dataset.column);
showCalls(() => (names.length ? writtenRow(Object.fromEntries(names.map((name) => [name, 0]))) : writtenTable("first,second\n0,0\n", "text/csv")));
openLinks("table", (text) => {
  $("#table").value = text;
  return classifyTable;
});
openLinks("row", (text) => {
  const values = linkedRow(text);
  fields.forEach((field, index) => (field.value = values[index] ?? ""));
  return classifyForm;
});
