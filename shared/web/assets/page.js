// What the pages of all functions share. See page.py for how the modules become one script.

/** What the server says about the function. */
export const service = JSON.parse(document.querySelector("#service").textContent);

// The page may be opened below a path prefix, with or without a slash at its end.
export const base = location.origin + location.pathname.replace(/\/*$/, "/");

export const $ = (selector) => document.querySelector(selector);

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export const hidden = (text) => element("span", { className: "hidden", textContent: text });

export const percent = (value) =>
  value > 0.9995 ? "> 99.9\u00a0%" : value < 0.0005 ? "< 0.1\u00a0%" : `${(100 * value).toFixed(1)}\u00a0%`;
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** Write to the one live region: progress, a result or an error. */
export function tell(kind, ...children) {
  const news = $("#news");
  news.dataset.kind = kind;
  news.replaceChildren(...children);
  $("#cancel").hidden = kind !== "busy";
}

export function tellBusy(text) {
  tell("busy", element("p", { textContent: text }));
}

export function tellSlow() {
  $("#news").append(element("p", { textContent: "This takes longer than usual; the model may have to be loaded first." }));
}

/** Tell a screen reader the result; the page shows it elsewhere. */
export function tellDone(text) {
  tell("done", element("p", { className: "hidden", textContent: text }));
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");

export function tellError(message, again, invitation = "Try again") {
  const retry = element("button", { type: "button", textContent: invitation, onclick: again });
  tell("error", element("p", { textContent: sentence(message) }), ...(again ? [retry] : []));
}

/** Say that the user has cancelled, and offer to go on. */
export function tellStopped(message, again, invitation) {
  const retry = element("button", { type: "button", textContent: invitation, onclick: again });
  tell("stopped", element("p", { textContent: message }), retry);
  retry.focus();
}

/** Copy a text, and say so on the button. If that fails, `byHand` prepares copying by hand and returns the hint. */
export async function copy(text, button, byHand) {
  const { textContent: before } = button;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without a secure origin there is no clipboard.
    button.textContent = byHand();
  }
  setTimeout(() => (button.textContent = before), 2000);
}

$("#openapi").href = `${base}openapi.json`;
