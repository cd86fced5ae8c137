// The canvas as a Streamlit component: these modules, served as its assets, and their style sheet.

import mount from "./main.js";
import { keepHistory } from "./pagehistory.js";
import { adoptStyle } from "./servedstyle.js";
import { linkToolbar } from "./toolbarlink.js";

keepHistory();

/** Of each canvas, what ends its link to the address. @type {WeakMap<Element, () => void>} */
const links = new WeakMap();

/** @param {import("./main.js").Component} component @returns {() => void} cleanup */
export default function (component) {
  adoptStyle(component.parentElement);
  const unmount = mount(component);
  const root = /** @type {HTMLElement} */ (component.parentElement.querySelector(".canvas-root"));
  if (!links.has(root)) links.set(root, linkToolbar(root));
  return () => {
    unmount();
    links.get(root)?.();
    links.delete(root);
  };
}
