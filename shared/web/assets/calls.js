// The calls: what the page has asked, as a program asks it.

import { $, address } from "./page.js";

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
