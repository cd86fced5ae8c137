// The menu that saves a view as a picture.

import { element, fileName, saveFile } from "./dom.js";
import { figureCanvas, figureSvg } from "./figure.js";

/** @typedef {import("./stage.js").Stage} Stage */

/** A button with its menu. @param {Stage} stage @returns {HTMLElement} */
export function saveMenu(stage) {
  const dark = element("input", { type: "checkbox" });
  /** @param {string} name @param {string} help @param {() => void} save */
  const item = (name, help, save) => element("button", { type: "button", role: "menuitem", title: help,
    click: () => { menu.hidePopover?.(); save(); } }, [name]);
  const menu = element("div", { class: "menu", role: "menu", "aria-label": "Save the picture", popover: "auto" }, [
    item("PNG, 2x", "For slides: two pixels for each on screen", () => savePng(stage, 2, dark.checked)),
    item("PNG, 3x", "For print: three pixels for each on screen", () => savePng(stage, 3, dark.checked)),
    item("SVG", "Shapes and text, to be edited or scaled", () => saveSvg(stage, dark.checked)),
    element("label", { title: "Pictures are light unless you choose this" }, [dark, "Dark background"]),
  ]);
  const button = element("button", { type: "button", title: "Save the picture with title, axes and legend",
    "aria-label": "Save the picture", "aria-haspopup": "menu", "aria-expanded": "false" }, ["Save"]);
  button.popoverTargetElement = menu;
  menu.addEventListener("toggle", (event) => {
    const open = /** @type {ToggleEvent} */ (event).newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (!open) return;
    const box = button.getBoundingClientRect();
    const { offsetWidth: w, offsetHeight: h } = menu;
    const below = box.bottom + h + 8 < window.innerHeight;
    menu.style.left = `${Math.max(4, Math.min(box.right - w, window.innerWidth - w - 4))}px`;
    menu.style.top = `${below ? box.bottom + 4 : Math.max(4, box.top - h - 4)}px`;
    menu.querySelector("button")?.focus();
  });
  menu.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const all = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("button, input")]);
    const at = all.findIndex((one) => one.matches(":focus"));
    all[(at + step + all.length) % all.length].focus();
    event.preventDefault();
    event.stopPropagation();
  });
  return element("span", { class: "save" }, [button, menu]);
}

/** @param {Stage} stage @param {number} scale @param {boolean} dark */
function savePng(stage, scale, dark) {
  figureCanvas(stage, { scale, dark }).toBlob((blob) => blob && saveFile(`${nameOfFile(stage)}-${scale}x.png`, blob), "image/png");
}

/** @param {Stage} stage @param {boolean} dark */
function saveSvg(stage, dark) {
  saveFile(`${nameOfFile(stage)}.svg`, new Blob([figureSvg(stage, { dark })], { type: "image/svg+xml" }));
}

/** @param {Stage} stage */
function nameOfFile(stage) {
  return fileName(stage.mode?.figure().title ?? stage.title) || "attention";
}
