// The calls: what the page has asked, as a program asks it.

import { $, copy, service } from "./page.js";
import { address, proofs } from "./requests.js";

export const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

let write = () => ({});

/** Show what `written` returns: the same request as a program makes it, by the value of a radio button. */
export function showCalls(written) {
  write = written;
  $("#call").textContent = write()[$("input[name=call]:checked").value];
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

/** Both calls with fetch, which is given these options after `lines` have made them. */
export const fetchCalls = (lines, options) => ({
  javascript: javascriptCall(lines, options),
  frontend: frontendCall(lines, options),
});

function javascriptCall(lines, options) {
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

/** Where a page of its own has its user's token from, and what has to be there first. */
function tokenOf({ kind, name } = {}) {
  if (kind === "oidc") return ["await idToken()", `// idToken: gives the user's ID token of ${name}`];
  const auth = "// auth: getAuth() of firebase/auth, after the user has signed in";
  const open = "// This function lets anybody call; it asks for a token once SIGN_IN is set.\n";
  return ["await auth.currentUser.getIdToken()", kind ? auth : open + auth];
}

/** The call of a page that has its own users. */
function frontendCall(lines, options) {
  const [token, needed] = tokenOf(service.sign_in ?? undefined);
  const app = service.app_check ? '\nrequest.headers.set("X-Firebase-AppCheck", (await getToken(appCheck)).token);' : "";
  return `${needed}
// ALLOWED_ORIGINS must name the origin of your page; see docs/frontends.md
${lines}
const request = new Request(${JSON.stringify(address)}, ${options});
request.headers.set("Authorization", \`Bearer \${${token}}\`);${app}
const response = await fetch(request);
const answer = await response.json();
if (!response.ok) throw new Error(answer.detail);
console.log(answer);`;
}

$("#copy").addEventListener("click", () =>
  copy($("#call").textContent, $("#copy"), () => {
    getSelection().selectAllChildren($("#call"));
    return "Selected: copy it now";
  }),
);
for (const choice of document.querySelectorAll("input[name=call]")) {
  choice.addEventListener("change", () => showCalls(write));
}
$("#proofs")?.addEventListener("input", () => showCalls(write));
