// The address of the page, to be copied: a Streamlit component of its own.

import { element } from "./dom.js";
import { adoptStyle } from "./servedstyle.js";

/** @param {{parentElement: ParentNode}} component */
export default function ({ parentElement }) {
  adoptStyle(parentElement);
  const root = /** @type {HTMLElement} */ (parentElement.querySelector(".share-link"));
  const address = element("input", { type: "text", readonly: true, "aria-label": "Link", focus: () => address.select() });
  const show = () => { address.value = location.href; };
  const copy = element("button", { type: "button", click: async () => {
    show();
    address.select();
    if (navigator.clipboard) await navigator.clipboard.writeText(location.href);
    else document.execCommand("copy"); // over http from another machine there is no clipboard
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy link"; }, 2000);
  } }, ["Copy link"]);
  show();
  root.replaceChildren(address, copy);
  const timer = setInterval(show, 500); // no event says that the address has changed
  return () => clearInterval(timer);
}
