// The headline, and what every visitor looks for: version, license, documentation, theme.

import { element } from "../dom.js";
import { readTheme } from "../theme.js";
import { link } from "./link.js";

/** @typedef {{title: string, lead: string, version: string}} Masthead */

export class MastheadView {
  /** @param {HTMLElement} root @param {import("./parts.js").Page} page */
  constructor(root, page) {
    this.root = root;
    this.page = page;
  }

  /** @param {Masthead} content */
  receive({ title, lead, version }) {
    const { go } = this.page;
    const theme = element("button", { type: "button", title: "Switch between light and dark",
      click: () => switchTheme(readTheme(this.root).dark ? "Light" : "Dark") }, ["◐ Theme"]);
    this.root.replaceChildren(element("header", { class: "masthead" }, [
      element("h1", {}, [title]),
      element("nav", { "aria-label": "About attnviz" }, [
        `attnviz ${version}`,
        link("Apache 2.0", "docs?page=license", () => go("license")),
        link("Docs", "docs", () => go("docs")),
        theme,
      ]),
      element("p", { class: "lead" }, [lead]),
    ]));
  }

  end() {}
}

/** Streamlit's own menu does it, so that the choice is kept as Streamlit keeps it. @param {"Light" | "Dark"} name */
function switchTheme(name) {
  press("stMainMenuButton");
  requestAnimationFrame(() => requestAnimationFrame(() => press(`stMainMenuItem-theme-${name}`)));
}

/** @param {string} testId */
function press(testId) {
  const button = document.querySelector(`[data-testid="${testId}"]`);
  if (button instanceof HTMLElement) button.click();
}
