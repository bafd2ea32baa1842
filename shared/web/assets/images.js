// Images: chosen, photographed, dropped or pasted.

import { subjectOf, two } from "./answers.js";
import { items, start } from "./batch.js";
import { curlCall, fetchCalls, pythonCall, shellQuoted, showCalls } from "./calls.js";
import { $, element, service } from "./page.js";

const images = {
  noun: "image",
  overhead: 100, // the form's last boundary
  size: ({ file }) => file.size + 3 * file.name.length + service.field.length + 300, // with the part's headers
  request(portion) {
    const body = new FormData();
    for (const { file } of portion) body.append(service.field, file);
    return { body };
  },
  written,
  headings: ["Image", "File"],
  lead: picture,
  name: ({ file }) => file.name,
  hints,
  fields: ["file"],
  values: ({ file }) => [file.name],
  file: "images.csv",
};

function startFiles(files) {
  if (!files.length) return;
  for (const { url } of items) URL.revokeObjectURL(url);
  const given = Array.from(files, (file) => ({ file, url: URL.createObjectURL(file) }));
  start(given, { ...images, table: given.length > 1 });
}

/** What the heatmap shows; with two labels, what speaks for the second. */
const shownBy = (answer) => (two ? `what speaks for ${subjectOf(answer)}` : "where the model looked");

/** The image as a button that lays the heatmap over it, if there is one. */
function picture({ file, url, answer }) {
  const image = element("img", { src: url, alt: file.name });
  image.onerror = () => (image.hidden = true); // such as a TIFF, which the service reads but the browser does not
  const heatmap = answer?.explanation?.heatmap;
  if (!heatmap) return element("div", { className: "cell" }, image);
  image.alt = "";
  const name = `Show ${shownBy(answer)} in ${file.name}`;
  const button = element("button", { type: "button", className: "cell", ariaLabel: name, ariaPressed: "false" });
  button.onclick = () => (button.ariaPressed = String(button.ariaPressed !== "true"));
  button.append(image, element("img", { className: "heat", src: heatmap, alt: "" }));
  return button;
}

function hints({ answer }) {
  if (!service.explains) return [];
  if (!answer.explanation) return ["This model cannot explain its answers."];
  if (!answer.explanation.heatmap) return [];
  if (two && answer.explanation.grid?.flat().every((value) => value <= 0)) {
    return [`Nothing in this image speaks for ${subjectOf(answer)}.`];
  }
  return [`Point at the image, tap it or focus it to see ${shownBy(answer)}.`];
}

/** The page's request for these images, as code. */
function written(portion) {
  const names = portion.map(({ file }) => file.name);
  const curlName = (name) => (/[,;"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);
  const field = JSON.stringify(service.field);
  return {
    curl: curlCall(...names.map((name) => `-F ${shellQuoted(`${service.field}=@${curlName(name)}`)}`)),
    python: pythonCall(
      `names = ${JSON.stringify(names, null, names.length > 2 ? 4 : 0)}
files = [(${field}, open(name, "rb")) for name in names]`,
      "files=files",
    ),
    ...fetchCalls(
      `// input: an <input type="file" multiple>
const body = new FormData();
for (const file of input.files) body.append(${field}, file);`,
      '{ method: "POST", body }',
    ),
  };
}

for (const input of [$("#choose"), $("#photo")]) {
  input.addEventListener("change", () => {
    startFiles([...input.files]);
    input.value = ""; // so that the same file can be chosen again
  });
}
for (const example of document.querySelectorAll("[data-file]")) {
  example.addEventListener("click", () => {
    const [, type, encoded] = example.firstElementChild.src.match(/^data:([^;,]*);base64,(.*)$/);
    const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
    startFiles([new File([bytes], example.dataset.file, { type })]);
  });
}
document.addEventListener("paste", ({ clipboardData }) => startFiles(clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("#drop").classList.add("over");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) $("#drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("#drop").classList.remove("over");
  startFiles(event.dataTransfer.files);
});
showCalls(() => written([{ file: { name: "image.png" } }]));
