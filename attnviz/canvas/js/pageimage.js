// An image's patches under a row of weights: exact to the patch, with the other tokens beside it.

import { element } from "./dom.js";
import { cssColor, readTheme } from "./theme.js";

/**
 * @typedef {object} ImageEntry see ../page_image.py
 * @property {number} names the list of token names @property {[number, number]} grid rows and columns of patches
 * @property {number} first the first patch among the tokens
 * @property {string | null} picture a data: address
 * @property {[number, number]} covers share of its width and height that the patches cover
 * @property {string[]} words what happened to the image on its way
 */

const LONGEST = 320; // px
const OVERLAY = 175; // place on the ramp of the color over a picture; the weight is its opacity

export class PatchImage {
  /** @param {ImageEntry} entry @param {string[]} names @param {(index: number) => void} choose a token */
  constructor(entry, names, choose) {
    this.entry = entry;
    this.names = names;
    /** @type {HTMLCanvasElement} */
    this.canvas = element("canvas", { class: "patches", role: "img" });
    this.others = element("div", { class: "others" });
    this.scale = element("p", { class: "faint" });
    this.root = element("section", {}, [element("h3", {}, ["On the image"]), this.canvas, this.others, this.scale,
      element("p", { class: "faint" }, [entry.words.join(" ")])]);
    this.choose = choose;
    this.canvas.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      const [rows, cols] = entry.grid;
      const r = Math.floor(((event.clientY - box.top) / box.height / entry.covers[1]) * rows);
      const c = Math.floor(((event.clientX - box.left) / box.width / entry.covers[0]) * cols);
      if (r >= 0 && r < rows && c >= 0 && c < cols) choose(entry.first + r * cols + c);
    });
    /** @type {HTMLImageElement | null} */
    this.picture = entry.picture ? element("img", { src: entry.picture, alt: "" }) : null;
    /** @type {{weights: ArrayLike<number>, query: number} | null} */
    this.last = null;
    this.picture?.addEventListener("load", () => this.last && this.show(this.last.weights, this.last.query));
  }

  /** @param {ArrayLike<number>} weights of a query on all tokens @param {number} query */
  show(weights, query) {
    this.last = { weights, query };
    const { grid: [rows, cols], first } = this.entry;
    const size = this.picture?.naturalWidth
      ? [this.picture.naturalWidth, this.picture.naturalHeight] : [cols, rows];
    const unit = LONGEST / Math.max(...size);
    const [width, height] = size.map((side) => Math.round(side * unit));
    [this.canvas.width, this.canvas.height] = [width, height];
    const ctx = this.canvas.getContext("2d");
    if (!ctx) return;
    const theme = readTheme(this.root);
    ctx.imageSmoothingEnabled = unit < 1; // the pixels that the model has are shown as they are
    if (this.picture?.naturalWidth) ctx.drawImage(this.picture, 0, 0, width, height);
    let most = 0;
    for (let p = 0; p < rows * cols; p++) most = Math.max(most, weights[first + p]);
    const [w, h] = [(width * this.entry.covers[0]) / cols, (height * this.entry.covers[1]) / rows];
    for (let p = 0; p < rows * cols; p++) {
      const share = most ? weights[first + p] / most : 0;
      ctx.globalAlpha = this.picture ? 0.8 * share : 1;
      ctx.fillStyle = cssColor(theme.sequential[this.picture ? OVERLAY : Math.round(share * 255)]);
      ctx.fillRect((p % cols) * w, Math.floor(p / cols) * h, w, h);
    }
    ctx.globalAlpha = 1;
    const at = query - first;
    if (at >= 0 && at < rows * cols) {
      ctx.strokeStyle = theme.selected;
      ctx.lineWidth = 2;
      ctx.strokeRect((at % cols) * w + 1, Math.floor(at / cols) * h + 1, w - 2, h - 2);
    }
    this.canvas.setAttribute("aria-label", `Weights of ${this.names[query]} on ${rows} × ${cols} patches, at most ${most.toPrecision(3)}`);
    this.scale.textContent = `Query ${this.names[query]}. ${this.picture ? "Opacity" : "Color"}: weight, 0 to ${Number(most.toPrecision(3))}, one square per patch. Click a patch to make it the query.`;
    const outside = this.names.map((_, i) => i).filter((i) => i < first || i >= first + rows * cols);
    this.others.replaceChildren(...outside.map((i) => element("button",
      { type: "button", "aria-pressed": String(i === query), click: () => this.choose(i) },
      [`${this.names[i]} ${Number(weights[i].toPrecision(3))}`])));
  }
}
