// The weights of a small layer, one map for each head; a row is outlined in all of them at once.

import { element } from "../dom.js";
import { readTheme } from "../theme.js";
import { addressOf, link } from "./link.js";
import { contextOf, MASKED, paintMatrix, scaleOf } from "./matrix.js";
import { onWord } from "./word.js";

const LABELS = 62; // pixels for the queries' names
const GAP = 10;
const CAPTION = 17;
const SMALLEST_TEXT = 8; // pixels of a row, below which names are left out

const RESTING = "Rows are queries, columns are keys, hatched is masked. Hover a cell for its weight.";

/** @typedef {{head: number, row: number, column: number}} Cell */
/**
 * @typedef {object} Layer
 * @property {string} text
 * @property {string[]} tokens
 * @property {import("./matrix.js").Matrix[]} heads
 * @property {number} height of the picture, in pixels
 * @property {number} d_model
 * @property {number[]} widths the choices of d_model
 * @property {number[]} counts the choices of the number of heads
 */

export class LayerView {
  /** @param {HTMLElement} root @param {import("./parts.js").Page} page */
  constructor(root, page) {
    this.root = root;
    this.page = page;
    /** @type {Layer | null} */
    this.data = null;
    /** @type {Cell | null} */
    this.at = null;
    this.controls = element("div", { class: "controls" });
    this.canvas = element("canvas", { role: "img", pointerleave: () => this.hover(null) });
    this.canvas.addEventListener("pointermove", (event) => this.move(event));
    this.readout = element("p", { class: "readout" }, [RESTING]);
    this.scale = element("div");
    this.onward = element("p");
    root.replaceChildren(element("div", { class: "layer" }, [
      element("p", {}, [element("b", {}, ["Turn one layer yourself."]), " Its weights are random, as before training."]),
      this.controls, this.canvas, this.readout, this.scale, this.onward]));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(root);
    /** @type {number | null} the row of a word that is hovered in the sentence */
    this.word = null;
    this.stopListening = onWord((word) => this.light(word));
  }

  /** @param {Layer} content */
  receive(content) {
    const first = !this.data;
    this.data = content;
    if (first) {
      this.controls.replaceChildren(
        this.choice("d_model", "width", content.widths, content.d_model),
        this.choice("Heads", "heads", content.counts, content.heads.length));
    }
    this.canvas.setAttribute("aria-label",
      `Attention weights of ${content.heads.length} heads over ${content.tokens.length} words`);
    this.scale.replaceChildren(scaleOf(readTheme(this.root).sequential, "Weight:"));
    this.lead(content);
    this.hover(null);
  }

  end() {
    this.resized.disconnect();
    this.stopListening();
  }

  /** The row of a word of the sentence, if that word is in the same place here. @param {import("./word.js").Word | null} word */
  light(word) {
    this.word = word && this.data?.tokens[word.index] === word.text ? word.index : null;
    this.draw();
  }

  /**
   * A slider over a few numbers.
   * @param {string} label @param {string} parameter @param {number[]} choices @param {number} value
   * @returns {HTMLElement}
   */
  choice(label, parameter, choices, value) {
    const shown = element("output", {}, [String(value)]);
    const input = element("input", { type: "range", min: 0, max: choices.length - 1, step: 1, "aria-label": label,
      value: choices.indexOf(value), "aria-valuetext": String(value) });
    input.addEventListener("input", () => {
      const chosen = String(choices[Number(input.value)]);
      shown.textContent = chosen;
      input.setAttribute("aria-valuetext", chosen);
      this.page.set(parameter, chosen);
    });
    return element("label", {}, [label, input, shown]);
  }

  /** @param {Layer} content */
  lead({ text, d_model, heads }) {
    const params = { d_model: String(d_model), n_heads: String(heads.length), text_lab: text };
    this.onward.replaceChildren(
      link("Open in the Layer lab", addressOf("layer_lab", params), () => this.page.go(`layer ${d_model} ${heads.length}`)),
      `  d_head = d_model / heads = ${d_model / heads.length}`);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (this.data) this.hover(cellAt(this.canvas, this.data, event.offsetX, event.offsetY));
  }

  /** @param {Cell | null} at */
  hover(at) {
    this.at = at;
    if (this.data) this.readout.textContent = at ? described(this.data, at) : RESTING;
    this.draw();
  }

  draw() {
    if (this.data) paint(this.canvas, this.data, this.at?.row ?? this.word);
  }
}

/** @param {Layer} data @param {Cell} at */
function described({ tokens, heads }, { head, row, column }) {
  const weight = heads[head][row][column];
  const value = weight === MASKED ? "masked" : (weight / 1000).toFixed(3);
  return `Head ${head}: “${tokens[row]}” to “${tokens[column]}” ${value}`;
}

/** Where each head's map lies. @param {number} width @param {Layer} data */
function layout(width, data) {
  const heads = data.heads.length;
  const sideOf = (/** @type {number} */ columns) => {
    const rows = Math.ceil(heads / columns);
    const across = (width - LABELS - GAP * (columns - 1)) / columns;
    return Math.min(across, (data.height - (CAPTION + GAP) * rows) / rows);
  };
  const choices = data.heads.map((_, i) => i + 1);
  const columns = choices.reduce((best, other) => (sideOf(other) > sideOf(best) ? other : best));
  const side = Math.max(20, Math.floor(sideOf(columns)));
  return data.heads.map((_, i) => ({
    x: LABELS + (i % columns) * (side + GAP),
    y: CAPTION + Math.floor(i / columns) * (side + GAP + CAPTION),
    width: side,
    height: side,
  }));
}

/** @param {HTMLCanvasElement} canvas @param {Layer} data @param {number | null} lit a row to outline */
function paint(canvas, data, lit) {
  const width = canvas.clientWidth || 400;
  canvas.style.height = `${data.height}px`;
  const ctx = contextOf(canvas, width, data.height);
  const theme = readTheme(canvas);
  const n = data.tokens.length;
  layout(width, data).forEach((box, head) => {
    paintMatrix(ctx, data.heads[head], theme.sequential, box, theme.hatch);
    ctx.fillStyle = theme.faint;
    ctx.font = `12px ${theme.font}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    ctx.fillText(`head ${head}`, box.x, box.y - 4);
    const cell = box.height / n;
    if (box.x === LABELS && cell >= SMALLEST_TEXT) {
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      ctx.font = `${Math.min(13, cell)}px ${theme.font}`;
      data.tokens.forEach((token, i) => {
        ctx.fillStyle = lit === i ? theme.text : theme.faint;
        ctx.fillText(token, LABELS - 6, box.y + (i + 0.5) * cell, LABELS - 8);
      });
    }
    if (lit !== null) {
      ctx.strokeStyle = theme.selected;
      ctx.lineWidth = 1.5;
      ctx.strokeRect(box.x, box.y + lit * cell, box.width, cell);
    }
  });
}

/** @param {HTMLCanvasElement} canvas @param {Layer} data @param {number} x @param {number} y */
function cellAt(canvas, data, x, y) {
  const n = data.tokens.length;
  const boxes = layout(canvas.clientWidth, data);
  const head = boxes.findIndex((box) => x >= box.x && y >= box.y && x < box.x + box.width && y < box.y + box.height);
  if (head < 0) return null;
  const box = boxes[head];
  return { head, row: Math.floor(((y - box.y) / box.height) * n), column: Math.floor(((x - box.x) / box.width) * n) };
}
