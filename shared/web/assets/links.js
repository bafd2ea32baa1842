// Links with the input in the fragment of the address, which browsers send to no server.

import { copy, element, service } from "./page.js";

const LONGEST = 8000; // characters; some programs truncate longer addresses

/** A button that copies a link, which opens this page with `value` filled in. */
export function linkButton(name, value) {
  const fragment = `#${new URLSearchParams({ [name]: value })}`;
  const button = element("button", { type: "button", className: "link", textContent: `Copy a link with this ${name}` });
  button.disabled = fragment.length > LONGEST;
  if (button.disabled) button.textContent = `This ${name} is too long for a link`;
  button.onclick = () => {
    history.replaceState(null, "", fragment);
    copy(location.href, button, () => "Copy it from the address bar");
  };
  return button;
}

/** Pass a link's value of this name to `fill`; do what `fill` returns, unless users must sign in first. */
export function openLinks(name, fill) {
  const open = () => {
    const value = new URLSearchParams(location.hash.slice(1)).get(name);
    if (value === null) return;
    const go = fill(value);
    if (!service.sign_in && !service.app_check) go();
  };
  addEventListener("hashchange", open);
  open();
}

/** Remove the fragment that opened the page, once the page shows something else. */
export function dropLink(name, value) {
  const linked = new URLSearchParams(location.hash.slice(1)).get(name);
  if (linked !== null && linked !== value) history.replaceState(null, "", location.pathname + location.search);
}
