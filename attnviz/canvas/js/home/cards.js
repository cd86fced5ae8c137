// Thumbnails that lead to other pages.

import { element } from "../dom.js";
import { headColor, readTheme } from "../theme.js";
import { addressOf, followed } from "./link.js";
import { contextOf, paintMatrix, scaleOf } from "./matrix.js";

const SIDE = 116; // pixels, as in style.css
const NS = "http://www.w3.org/2000/svg";

/**
 * @typedef {object} Card
 * @property {string} name
 * @property {string} title
 * @property {string} about
 * @property {string} page
 * @property {Record<string, string>} params
 * @property {import("./matrix.js").Matrix[]} [maps] one, or several side by side
 * @property {import("./matrix.js").Matrix | null} [image] beside its map
 * @property {boolean} [mark] a check mark instead of a picture
 * @property {{steps: number[], heads: Record<string, number[]>}} [curves]
 */

export class CardsView {
  /** @param {HTMLElement} root @param {import("./parts.js").Page} page */
  constructor(root, page) {
    this.root = root;
    this.page = page;
  }

  /** @param {{cards: Card[]}} content */
  receive({ cards }) {
    const theme = readTheme(this.root);
    this.root.replaceChildren(
      element("h2", {}, ["See it in other models and texts"]),
      scaleOf(theme.sequential, "Attention weight in every picture:"),
      element("div", { class: "cards" }, cards.map((card) => {
        const anchor = element("a", { class: "card", href: addressOf(card.page, card.params), "data-name": card.name },
          [pictureOf(card, theme), element("div", {}, [element("h3", {}, [card.title]), element("p", {}, [card.about])])]);
        return followed(anchor, () => this.page.go(card.name));
      })));
  }

  end() {}
}

/** @param {Card} card @param {import("../theme.js").Theme} theme */
function pictureOf(card, theme) {
  if (card.mark) return mark();
  if (card.curves) return curves(card.curves, theme);
  const maps = card.maps ?? [];
  return card.image ? imagePair(card.image, maps[0], theme) : picture(maps, theme);
}

/** What is verified has this for its picture. */
function mark() {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 116 116");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  const path = svg.appendChild(document.createElementNS(NS, "path"));
  path.setAttribute("d", "M30 60 l20 20 l38 -44");
  return svg;
}

/** @param {import("./matrix.js").Matrix[]} maps @param {import("../theme.js").Theme} theme */
function picture(maps, theme) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const ctx = contextOf(canvas, SIDE, SIDE);
  const across = Math.ceil(Math.sqrt(maps.length));
  const side = (SIDE - (across - 1) * 4) / across;
  maps.forEach((map, i) => {
    const wide = side * Math.min(1, map[0].length / map.length);
    const high = side * Math.min(1, map.length / map[0].length);
    const box = { x: (i % across) * (side + 4), y: Math.floor(i / across) * (side + 4), width: wide, height: high };
    paintMatrix(ctx, map, theme.sequential, box, theme.hatch);
  });
  return canvas;
}

/** An image, and beside it the map of its patches. @param {import("./matrix.js").Matrix} image @param {import("./matrix.js").Matrix} map @param {import("../theme.js").Theme} theme */
function imagePair(image, map, theme) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const ctx = contextOf(canvas, SIDE, SIDE);
  const side = (SIDE - 4) / 2;
  const [y, cell] = [(SIDE - side) / 2, side / image.length];
  ctx.fillStyle = theme.text;
  image.forEach((row, r) => row.forEach((ink, c) => {
    ctx.globalAlpha = ink / 1000;
    ctx.fillRect(c * cell, y + r * cell, cell, cell);
  }));
  ctx.globalAlpha = 1;
  ctx.strokeStyle = theme.border;
  ctx.strokeRect(0.5, y + 0.5, side - 1, side - 1);
  paintMatrix(ctx, map, theme.sequential, { x: side + 4, y, width: side, height: side }, theme.hatch);
  return canvas;
}

/** @param {{steps: number[], heads: Record<string, number[]>}} training @param {import("../theme.js").Theme} theme */
function curves({ steps, heads }, theme) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 ${SIDE} ${SIDE}`);
  svg.setAttribute("aria-hidden", "true");
  const [left, bottom, top] = [16, SIDE - 16, 6];
  const last = steps[steps.length - 1];
  const x = (/** @type {number} */ step) => left + (step / last) * (SIDE - left - 4);
  const y = (/** @type {number} */ value) => bottom - (value / 1000) * (bottom - top);
  const names = Object.keys(heads);
  const add = (/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes, text = "") => {
    const made = svg.appendChild(document.createElementNS(NS, tag));
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
  };
  add("polyline", { class: "axis", points: `${left},${top} ${left},${bottom} ${SIDE},${bottom}` });
  add("text", { class: "tick", x: "4", y: `${top + 6}` }, "1");
  add("text", { class: "tick", x: "4", y: `${bottom}` }, "0");
  add("text", { class: "tick", x: `${SIDE}`, y: `${SIDE - 3}`, "text-anchor": "end" }, `step ${last}`);
  names.forEach((name, i) => add("polyline", { stroke: headColor(theme, i),
    points: heads[name].map((value, k) => `${x(steps[k])},${y(value)}`).join(" ") }));
  return svg;
}
