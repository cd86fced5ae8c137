// The canvas as a Streamlit component: these modules, served as its assets, and their style sheet.

import mount from "./main.js";
import { adoptStyle } from "./servedstyle.js";

/** @param {import("./main.js").Component} component @returns {() => void} cleanup */
export default function (component) {
  adoptStyle(component.parentElement);
  return mount(component);
}
