// One head's map: pan, zoom, and the number under the hand.

import { codecOf, MASKED } from "./numbers.js";
import { Asking, covers, tileSide } from "./asking.js";
import { isBright } from "./colours.js";
import { drawCrosshair, drawLabels, drawOutline, LABEL } from "./axes.js";
import { dropdown, element, plainButton, segments } from "./dom.js";
import { SheetPicture } from "./pictures.js";
import { largestOf, Shading } from "./shading.js";
import { spoken } from "./stage.js";
import { Viewport } from "./viewport.js";

const BASES_KEPT = 4;
const TABLE_CELLS = 24;
const LINEAR_UP_TO = 128; // tokens; the rows of longer maps are too even to tell weights apart
const NUMBERS_FROM = 54; // px a cell: numbers are written into cells

export class MapMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    /** @type {Map<string, any>} what was sent with a base, by map */
    this.bases = new Map();
    /** @type {SheetPicture | null} */
    this.tile = null;
    this.view = new Viewport();
    this.shading = new Shading();
    this.space = "";
    /** @type {[number, number] | null} */
    this.cursor = null; // the cell under the pointer or the keys: [row, column]
    this.picked = null;
    /** @type {[number, number] | null} */
    this.pointer = null; // where it was last
    this.pointers = new Map();
    this.asking = new Asking((view) => send("view", view), () => this._status());
    this.label = "Attention map";
    this._build();
  }

  _build() {
    this.scales = segments("Colour scale",
      [["linear", "Linear"], ["log", "Log"], ["percentile", "Percentile"]],
      this.shading.kind, (kind) => {
        this.shading.kind = /** @type {any} */ (kind);
        this.norms.disabled = kind === "percentile"; // ranks are of the weights as they are
        this.themed();
      });
    this.norms = dropdown("Normalise", [["none", "As they are"], ["row", "By row"], ["col", "By column"]],
      this.shading.norm, (norm) => { this.shading.norm = /** @type {any} */ (norm); this.themed(); });
    this.legend = element("span", { class: "legend" }, [
      element("span"), element("canvas", { width: 96, height: 10 }), element("span")]);
    const zoom = element("span", { class: "segments", role: "group", "aria-label": "Zoom" }, [
      plainButton("−", "Zoom out", () => this._zoomAtMiddle(1 / 1.5)),
      plainButton("+", "Zoom in", () => this._zoomAtMiddle(1.5)),
      plainButton("Reset", "Show the whole map", () => this.reset()),
    ]);
    this.tools = [this.scales.group, this.norms, zoom, this.legend];
  }

  /** @param {import("./payload.js").Payload} payload */
  receive({ header, arrays }) {
    const first = !this.space;
    this.header = header;
    this.shape = header.shape;
    if (header.base) {
      this.bases.delete(header.id);
      this.bases.set(header.id, {
        picture: asSheet(header.base, arrays.base, header),
        rowMax: arrays.rowMax, colMax: arrays.colMax,
        rowNames: header.rowNames, colNames: header.colNames,
        ranks: null, largest: largestOf(arrays.rowMax),
      });
      while (this.bases.size > BASES_KEPT) this.bases.delete(this.bases.keys().next().value);
    }
    this.held = this.bases.get(header.id);
    if (!this.held) { // told that we have what we no longer have
      this.asking.tell({ rows: [0, this.shape[0]], cols: [0, this.shape[1]], have: "" });
      return;
    }
    this.tile = header.tile ? asSheet(header.tile, arrays.tile, header) : null;
    this.asking.waiting = false;
    this.label = `${header.title}. ${this.shape[0]} queries in rows, ${this.shape[1]} keys in columns. ` +
      "Arrow keys move, plus and minus zoom, 0 shows all, Enter picks a cell.";
    this.scales.group.hidden = this.norms.hidden = this.held.picture.sheet.codec.signed;
    this.picked = header.cell ?? (this.space === header.space ? this.picked : null);
    if (first && Math.max(...this.shape) > LINEAR_UP_TO) this.scales.choose("log");
    const elsewhere = this.space !== header.space;
    this.space = header.space;
    this.themed();
    if (elsewhere) {
      this.cursor = null;
      this.view.fit();
    }
    this.stage.resize();
    if (first && header.view) this.view.show(header.view.rows, header.view.cols);
    this._status();
    this._moved();
    if (this.cursor && this.pointer && !this.stage.tipBox.hidden) this.hover(...this.pointer);
  }

  contentHeight() {
    return 0;
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    if (!this.held) return;
    const ctx = this.stage.picture.getContext("2d");
    ctx.font = this.stage.font(LABEL);
    const room = (names) => { // enough for nine names of ten
      const step = Math.max(1, Math.floor(names.length / 200));
      const widths = [];
      for (let i = 0; i < names.length; i += step) widths.push(ctx.measureText(names[i]).width);
      widths.sort((a, b) => a - b);
      return Math.max(24, Math.min(96, widths[Math.floor(0.9 * (widths.length - 1))])) + 30;
    };
    this.left = Math.min(room(this.held.rowNames), this.stage.width / 3);
    this.head = Math.min(room(this.held.colNames), this.stage.height / 3);
    this.view.resize(this.shape, this.stage.width - this.left - 2, this.stage.height - this.head - 2);
  }

  /** @param {number} x @param {number} y px on the canvas */
  _cellAt(x, y) {
    return this.view.cellAt(x - this.left, y - this.head);
  }

  // ---- moving --------------------------------------------------------------------------------

  /** @param {number} factor @param {number} x @param {number} y px on the canvas */
  zoom(factor, x, y) {
    this.view.zoom(factor, x - this.left, y - this.head);
    this._moved();
  }

  _zoomAtMiddle(factor) {
    this.zoom(factor, this.left + this.view.width / 2, this.head + this.view.height / 2);
  }

  /** @param {number} dx @param {number} dy px */
  pan(dx, dy) {
    this.view.pan(dx, dy);
    this._moved();
  }

  reset() {
    this.view.fit();
    this._moved();
  }

  _moved() {
    this.stage.repaint();
    if (!this.held) return;
    const { rows, cols } = this.view.visible();
    const view = this.view.whole ? null : { rows, cols, have: this.header.id };
    this.asking.moved(view, this._needsCells(rows, cols), this.header.report);
    this._status();
  }

  /** Whether what is on screen could be had in more detail. */
  _needsCells(rows, cols) {
    const base = this.held.picture.sheet.side;
    if (base === 1 || this.view.whole || this.header.offline) return false;
    const side = tileSide(rows, cols);
    if (side >= base || this.view.cell * base * this.stage.dpr < 1) return false;
    const t = this.tile?.sheet;
    return !(t && t.side <= side && covers(t.rows, rows) && covers(t.cols, cols));
  }

  // ---- the hand ------------------------------------------------------------------------------

  press(x, y, event) {
    this.pointers.set(event.pointerId, [x, y]);
    this.stage.hideTip();
  }

  move(x, y, event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, [x, y]);
    if (!others.length) {
      this.pan(x - before[0], y - before[1]);
      return;
    }
    const [ox, oy] = others[0]; // two fingers: what is between them grows with their distance
    const was = Math.hypot(before[0] - ox, before[1] - oy) || 1;
    this.zoom(Math.hypot(x - ox, y - oy) / was, (x + ox) / 2, (y + oy) / 2);
    this.pan((x - before[0]) / 2, (y - before[1]) / 2);
  }

  release(event) {
    this.pointers.delete(event.pointerId);
  }

  wheel(x, y, event) {
    const out = event.deltaY > 0;
    if (out && this.view.whole) return false; // the page scrolls on
    if (event.shiftKey) this.pan(-event.deltaY, 0);
    else {
      const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
      this.zoom(Math.exp(-Math.max(-200, Math.min(200, pixels)) * (event.ctrlKey ? 0.01 : 0.0022)), x, y);
    }
    this.hover(x, y);
    return true;
  }

  hover(x, y) {
    const at = this._cellAt(x, y);
    this.cursor = at;
    this.pointer = [x, y];
    if (at) this.stage.tip(x, y, this.describe(at));
    else this.stage.hideTip();
    this.stage.repaintOver();
  }

  leave() {
    this.cursor = null;
    this.stage.hideTip();
    this.stage.repaintOver();
  }

  click(x, y) {
    const at = this._cellAt(x, y);
    if (!at) return;
    clearTimeout(this.clicking); // a double click is no two picks
    this.clicking = setTimeout(() => this.pick(at), 250);
  }

  doubleClick() {
    clearTimeout(this.clicking);
    this.reset();
  }

  pick(at) {
    this.picked = at;
    this.stage.repaint();
    this.send("cell", at);
  }

  key(event) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
      PageUp: [-10, 0], PageDown: [10, 0] };
    const step = steps[event.key];
    if (step) {
      const wide = event.shiftKey ? 10 : 1;
      const [row, col] = this.cursor ?? this.picked ?? this._corner();
      this._goTo([row + step[0] * wide, col + step[1] * wide]);
    } else if (event.key === "Home") this._goTo([this.cursor?.[0] ?? 0, 0]);
    else if (event.key === "End") this._goTo([this.cursor?.[0] ?? 0, this.shape[1] - 1]);
    else if (event.key === "+" || event.key === "=") this._zoomOnCursor(1.5);
    else if (event.key === "-") this._zoomOnCursor(1 / 1.5);
    else if (event.key === "0" || event.key === "Escape") this.reset();
    else if (event.key === "Enter" && this.cursor) this.pick(this.cursor);
    else return false;
    return true;
  }

  /** @returns {[number, number]} */
  _corner() {
    const { rows, cols } = this.view.visible();
    return [rows[0], cols[0]];
  }

  _goTo([row, col]) {
    this.cursor = [
      Math.max(0, Math.min(this.shape[0] - 1, row)), Math.max(0, Math.min(this.shape[1] - 1, col))];
    this.view.reveal(this.cursor);
    this._moved();
    const rows = this.describe(this.cursor);
    this.stage.tip(...this._middle(this.cursor), rows);
    this.stage.say(spoken(rows));
  }

  _zoomOnCursor(factor) {
    if (this.cursor) this.zoom(factor, ...this._middle(this.cursor));
    else this._zoomAtMiddle(factor);
  }

  /** @param {[number, number]} at @returns {[number, number]} px on the canvas */
  _middle(at) {
    const [x, y] = this.view.middle(at);
    return [this.left + x, this.head + y];
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** The best that is known of a cell. @returns {{sheet: import("./pictures.js").Sheet, code: number}} */
  codeAt([row, col]) {
    for (const picture of [this.tile, this.held.picture]) {
      const s = picture?.sheet;
      if (!s || row < s.rows[0] || row >= s.rows[1] || col < s.cols[0] || col >= s.cols[1]) continue;
      const i = Math.floor((row - s.rows[0]) / s.side);
      const j = Math.floor((col - s.cols[0]) / s.side);
      return { sheet: s, code: s.codes[i * s.width + j] };
    }
    throw new Error("The base covers every cell.");
  }

  /** @param {[number, number]} at @returns {import("./stage.js").TipRow[]} */
  describe(at) {
    const { sheet, code } = this.codeAt(at);
    const rows = /** @type {import("./stage.js").TipRow[]} */ ([
      ["query", `${at[0]} · `, this.held.rowNames[at[0]]], ["key", `${at[1]} · `, this.held.colNames[at[1]]]]);
    const what = this.header.quantity.replace(/s$/, "");
    if (sheet.side === 1) rows.push([what, sheet.codec.text(code)]);
    else {
      rows.push([`largest ${what} of ${sheet.side} × ${sheet.side}`, sheet.codec.text(code)]);
    }
    return rows;
  }

  table() {
    const { rows, cols } = this.view.visible();
    const clip = ([start, stop], at) => {
      const from = Math.max(start, Math.min(stop - TABLE_CELLS, (at ?? start) - TABLE_CELLS / 2));
      return [from, Math.min(stop, from + TABLE_CELLS)];
    };
    const at = this.cursor ?? this.picked;
    const [r0, r1] = clip(rows, at?.[0]);
    const [c0, c1] = clip(cols, at?.[1]);
    const numbers = (a, b) => Array.from({ length: b - a }, (_, i) => a + i);
    return {
      caption: `${this.header.title}, queries ${r0} to ${r1 - 1} and keys ${c0} to ${c1 - 1}`,
      columns: ["query", ...numbers(c0, c1).map((j) => [`${j} `, this.held.colNames[j]])],
      rows: numbers(r0, r1).map((i) => [[`${i} `, this.held.rowNames[i]],
        ...numbers(c0, c1).map((j) => {
          const { sheet, code } = this.codeAt([i, j]);
          return (sheet.side === 1 ? "" : "≤ ") + sheet.codec.text(code);
        })]),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** Colours have changed. */
  themed() {
    if (!this.held) return;
    this.shading.use(this.held, this.stage.theme);
    this.held.picture.forget();
    this.tile?.forget();
    this.shading.explain(this.legend);
    this.stage.repaint();
  }

  _status() {
    const { side } = this.held.picture.sheet;
    if (side === 1) return this.stage.status("");
    const t = this.tile?.sheet;
    const { rows, cols } = this.view.visible();
    const shown = t && covers(t.rows, rows) && covers(t.cols, cols) ? t.side : side;
    const what = shown === 1 ? "Every cell is one weight." : `Each cell is the largest of ${shown} × ${shown} weights.`;
    this.stage.status(this.asking.waiting ? `${what} Fetching what is in view…` : what);
  }

  draw(ctx) {
    if (!this.held) return;
    const { theme, dpr } = this.stage;
    const { view } = this;
    ctx.save();
    ctx.translate(this.left, this.head);
    ctx.beginPath();
    ctx.rect(0, 0, view.width, view.height);
    ctx.clip();
    const paint = (codes, level, sheet) => this.shading.paint(codes, level, sheet);
    this.held.picture.draw(ctx, view, dpr, paint);
    this.tile?.draw(ctx, view, dpr, paint);
    if (view.cell >= NUMBERS_FROM) this._numbers(ctx);
    if (this.picked) drawOutline(ctx, view, this.picked, theme.mark);
    ctx.restore();
    ctx.strokeStyle = theme.border;
    ctx.lineWidth = 1;
    ctx.strokeRect(this.left - 0.5, this.head - 0.5, view.right + 1, view.bottom + 1);
    drawLabels(ctx, this);
  }

  _numbers(ctx) {
    const { rows, cols } = this.view.visible();
    ctx.font = this.stage.font(11);
    ctx.textAlign = "center";
    for (let i = rows[0]; i < rows[1]; i++) {
      for (let j = cols[0]; j < cols[1]; j++) {
        const { sheet, code } = this.codeAt([i, j]);
        if (sheet.side > 1 || code === MASKED) continue;
        ctx.fillStyle = isBright(this.shading.colourOf(sheet, [i, j], code)) ? "#10151b" : "#ffffff";
        const [x, y] = this.view.middle([i, j]);
        ctx.fillText(sheet.codec.text(code), x, y);
      }
    }
  }

  drawOver(ctx) {
    if (this.cursor && this.held) drawCrosshair(ctx, this, this.cursor);
  }

  destroy() {
    this.asking.stop();
    clearTimeout(this.clicking);
  }
}

/** @param {any} part of the header @param {any} codes @param {any} header */
function asSheet(part, codes, header) {
  const [height, width] = header.arrays[part === header.base ? "base" : "tile"].shape;
  return new SheetPicture({ ...part, codes, height, width, codec: codecOf(part.codec) });
}
