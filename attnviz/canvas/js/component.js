// The canvas as a Streamlit component: these modules, served as its assets, and their style sheet.

import mount from "./main.js";

const sheet = new CSSStyleSheet();
sheet.replaceSync(await (await fetch(new URL("canvas.css", import.meta.url))).text());

/** @param {import("./main.js").Component} component @returns {() => void} cleanup */
export default function (component) {
  const shadow = /** @type {ShadowRoot} */ (component.parentElement);
  if (!shadow.adoptedStyleSheets.includes(sheet)) shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, sheet];
  return mount(component);
}
