// The calls: what the page has asked, as a program asks it.

import { $, address, proofs } from "./page.js";

export const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

let write = () => ({});

/** Show what `written` returns: the same request as a program makes it, by the value of a radio button. */
export function showCalls(written) {
  write = written;
  $("#call").textContent = write()[$("input[name=call]:checked").value];
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
export function curlCall(...parts) {
  const headers = Object.entries(proofs()).map(([name, value]) => `-H ${shellQuoted(`${name}: ${value}`)}`);
  return [`curl -s ${shellQuoted(address)}`, ...headers, ...parts].join(" \\\n  ");
}

/** A call with Python's requests, which is given these arguments after `lines` have made them. */
export function pythonCall(lines, given) {
  const proven = Object.keys(proofs()).length > 0;
  const session = proven ? `session = requests.Session()\nsession.headers.update(${JSON.stringify(proofs())})\n` : "";
  return `import requests

${lines}
${session}answer = ${proven ? "session" : "requests"}.post(${JSON.stringify(address)}, ${given})
print(answer.json())`;
}

/** A call with fetch, which is given these options after `lines` have made them. */
export function javascriptCall(lines, options) {
  const headers = Object.entries(proofs()).map((one) => `request.headers.set(${one.map((part) => JSON.stringify(part)).join(", ")});\n`);
  const url = JSON.stringify(address);
  const called = headers.length
    ? `const request = new Request(${url}, ${options});\n${headers.join("")}const response = await fetch(request);`
    : `const response = await fetch(${url}, ${options});`;
  return `// on another site only where ALLOWED_ORIGINS names it
${lines}
${called}
console.log(await response.json());`;
}

$("#copy").addEventListener("click", copyCall);
for (const choice of document.querySelectorAll("input[name=call]")) {
  choice.addEventListener("change", () => showCalls(write));
}
$("#proofs")?.addEventListener("input", () => showCalls(write));
