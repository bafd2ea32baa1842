// Rows: one from a form, or a table as CSV.

import { start } from "./batch.js";
import { $, curlCall, javascriptCall, pythonCall, element, service, shellQuoted, showCalls, tellError } from "./page.js";

const fields = Array.from(document.querySelectorAll("[data-column]"));

/** A number if it is one: any other text is for the service to take or to refuse. */
function valueOf(text) {
  const number = Number(text);
  return text.trim() === "" ? null : Number.isFinite(number) ? number : text;
}

const one = {
  noun: "row",
  table: false,
  overhead: 0,
  size: ({ row_given: row }) => JSON.stringify(row).length,
  request: ([{ row_given: row }]) => json({ [service.json_field]: row }),
  written: ([{ row_given: row }]) => writtenRow(row),
  lead: () => null,
  name: () => "",
  hints: () => [],
};

const json = (content) => ({ body: JSON.stringify(content), headers: { "Content-Type": "application/json" } });

function classifyForm() {
  const row = Object.fromEntries(fields.map((field) => [field.dataset.column, valueOf(field.value)]));
  start([{ row_given: row }], one);
}

/**
 * The records of CSV (RFC 4180), each a list of its fields; blank lines are none. What a spreadsheet puts on
 * the clipboard has tabs in place of commas.
 */
function records(text) {
  const separator = /^[^\n",]*\t/.test(text) ? "\t" : ",";
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|([^${separator}\\r\\n]*))(${separator}|\\r?\\n|\\r|$)`, "y");
  const found = [[]];
  while (field.lastIndex < text.length) {
    const at = field.lastIndex;
    const match = field.exec(text);
    if (!match) throw new SyntaxError(`after a quoted field a comma or a new line is expected; at character ${at + 1}`);
    const [, quoted, plain, end] = match;
    found.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== separator) found.push([]);
    else if (field.lastIndex === text.length) found.at(-1).push("");
  }
  return found.filter((record) => record.some((value) => value.trim()));
}

const csvValue = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csvLine = (record) => `${record.map(csvValue).join(",")}\n`;

/** The rows of a table as one kind, which knows its header. */
function table(header) {
  const csv = (portion) => [header, ...portion.map(({ record }) => record)].map(csvLine).join("");
  return {
    noun: "row",
    table: true,
    overhead: new Blob([csvLine(header)]).size,
    size: ({ record }) => new Blob([csvLine(record)]).size,
    request: (portion) => ({ body: csv(portion), headers: { "Content-Type": "text/csv" } }),
    written: (portion) => writtenTable(csv(portion)),
    headings: ["Row", "Values"],
    lead: ({ number }) => element("span", { className: "small number", textContent: number }),
    name: ({ record }) => record.join(", "),
    hints: () => [],
    fields: header,
    values: ({ record }) => header.map((_, index) => valueOf(record[index] ?? "")),
    file: "rows.csv",
  };
}

function classifyTable() {
  try {
    const [header, ...rows] = records($("#table").value.replace(/^\ufeff/, ""));
    if (!rows.length) throw new SyntaxError("expected a line with the columns' names, and a line for each row");
    start(rows.map((record, index) => ({ record, number: index + 1 })), table(header));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    tellError(error.message);
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
    javascript: javascriptCall(
      `const row = ${JSON.stringify(row)};`,
      `{
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ ${name}: row }),
}`,
    ),
  };
}

function writtenTable(csv) {
  const quoted = JSON.stringify(csv);
  return {
    curl: curlCall("-H 'Content-Type: text/csv'", `--data-binary ${shellQuoted(csv)}`),
    python: pythonCall(
      `rows = ${quoted}`,
      'data=rows.encode(), headers={"Content-Type": "text/csv"}',
    ),
    javascript: javascriptCall(
      `const body = ${quoted};`,
      '{ method: "POST", headers: { "Content-Type": "text/csv" }, body }',
    ),
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
showCalls(names.length ? writtenRow(Object.fromEntries(names.map((name) => [name, 0]))) : writtenTable("first,second\n0,0\n"));
