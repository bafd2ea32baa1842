// The calls of the page as code for programs.

import { $, copy, service } from "./page.js";
import { address, proofs } from "./requests.js";

export const shellQuoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

let write = () => ({});

/** Show the same request as code. `written` returns it for each value of the radio buttons. */
export function showCalls(written) {
  write = written;
  $("#call").textContent = write()[$("input[name=call]:checked").value];
}

/** A call with curl; `parts` are the arguments with the input. */
export function curlCall(...parts) {
  const headers = Object.entries(proofs()).map(([name, value]) => `-H ${shellQuoted(`${name}: ${value}`)}`);
  return [`curl -s ${shellQuoted(address)}`, ...headers, ...parts].join(" \\\n  ");
}

/** A call with Python's requests; `lines` define what the options use. */
export function pythonCall(lines, options) {
  const proven = Object.keys(proofs()).length > 0;
  const session = proven ? `session = requests.Session()\nsession.headers.update(${JSON.stringify(proofs())})\n` : "";
  return `import requests

${lines}
${session}answer = ${proven ? "session" : "requests"}.post(${JSON.stringify(address)}, ${options})
print(answer.json())`;
}

/** Both calls with fetch; `lines` define what the options use. */
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
  return `// from a page of another origin, this works only if ALLOWED_ORIGINS names that origin
${lines}
${called}
console.log(await response.json());`;
}

/** How another page gets its user's token, and a comment on what this needs. */
function tokenOf({ kind, name } = {}) {
  if (kind === "oidc") return ["await idToken()", `// idToken(): your function that returns the user's ID token from ${name}`];
  const auth = "// auth: getAuth() of firebase/auth, after the user has signed in";
  const open = "// This function lets anybody call; it asks for a token once SIGN_IN is set.\n";
  return ["await auth.currentUser.getIdToken()", kind ? auth : open + auth];
}

/** The call from a page whose users sign in. */
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
