// The parts of a page: heading, strip, grid, the chosen head, explanation.

import { element, segments } from "./dom.js";
import { CanvasInstance } from "./main.js";
import { VIEW_NAMES } from "./pagestate.js";

/** @typedef {import("./pagestate.js").ViewName} ViewName */

/**
 * @param {HTMLElement} root @param {{title: string, text: string, whole: boolean, storage: string, grid: number | null}} told
 * @param {ViewName} chosen @param {(view: ViewName) => void} choose a view
 */
export function layOutPage(root, { title, text, whole, storage, grid: blob }, chosen, choose) {
  const [strip, grid, head] = [0, 1, 2].map(() => element("div", { class: "canvas-root" }));
  const views = segments("View", VIEW_NAMES.map((name) => /** @type {[ViewName, string]} */ ([name, name])), chosen, choose);
  const headTitle = element("b");
  const problem = element("p", { class: "problem", hidden: true, role: "alert" });
  const gridPart = element("section", { class: "part grid", "aria-label": "All heads", hidden: blob === null }, [grid]);
  const headPart = element("section", { class: "part head", "aria-label": "Selected head" }, [
    element("div", { class: "heading" }, [headTitle, views.group]), problem, head]);
  const explanation = element("aside", { class: "part explain", "aria-label": "Explanation" });
  const quoted = text ? [element("q", {}, [element("bdi", {}, [text + (whole ? "" : "…")])])] : [];
  const kind = `trace-page${blob === null ? " one-head" : ""}${window.parent === window ? "" : " embedded"}`;
  root.replaceChildren(element("div", { class: kind }, [
    element("header", {}, [element("h1", {}, [title || "Attention"]), ...quoted]),
    element("section", { class: "part strip", "aria-label": "Tokens" }, [strip]),
    gridPart, headPart, explanation,
    element("footer", {}, [`${storage} Made with attnviz; this file works offline and sends nothing.`]),
  ]));
  return { strip, grid, head, views, title: headTitle, problem, gridPart, headPart, explanation };
}

/** @param {HTMLElement} root */
export function canvasIn(root) {
  const canvas = new CanvasInstance(root);
  Object.assign(root, { attnviz: canvas }); // for tests and the browser's console
  return canvas;
}
