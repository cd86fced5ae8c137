// One head's map: pan, zoom, and the number under the hand.

import { codecOf } from "./codecs.js";
import { ViewRequests, covers, tileSide } from "./requests.js";
import { drawCrosshair, drawFocus, drawLabels, drawOutline, LABEL } from "./axes.js";
import { dropdown, element, plainButton, segments } from "./dom.js";
import { Pyramid } from "./pyramid.js";
import { moveInMap } from "./mapkeys.js";
import { describeCell, drawNumbers, readCell, tableOf } from "./cells.js";
import { largestInTile, largestSize, Shading } from "./shading.js";
import { ROOMY, Viewport } from "./viewport.js";

const BASES_KEPT = 4;
const LINEAR_UP_TO = 128; // tokens; the rows of longer maps are too even to tell weights apart
const LEAST_TALL = 64; // px: what the rows are has to be written beside them
const NUMBERS_FROM = 54; // px a cell: numbers are written into cells
const READABLE = 14; // px a cell: what is too tall for so much is first shown from its top

export class MapMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    /** @type {Map<string, any>} what was sent with a base, by map */
    this.bases = new Map();
    /** @type {Pyramid | null} */
    this.tile = null;
    this.view = new Viewport();
    this.shading = new Shading();
    /** @type {Record<string, any>} the scale chosen for each */
    this.kinds = { one: "linear", two: "linear" };
    this.side = "one";
    this.space = "";
    /** @type {[number, number] | null} */
    this.cursor = null; // the cell under the pointer or the keys: [row, column]
    this.picked = null;
    /** @type {[number, number] | null} */
    this.pointer = null; // where it was last
    this.pointers = new Map();
    this.requests = new ViewRequests((view) => send("view", view), () => this._status());
    this.label = "Attention map";
    this._build();
  }

  _build() {
    this.scales = segments("Colour scale",
      [["linear", "Linear"], ["log", "Log"], ["percentile", "Percentile"]],
      this.shading.kind, (kind) => {
        this.kinds[this.side] = this.shading.kind = /** @type {any} */ (kind);
        this.norms.disabled = kind === "percentile"; // ranks are of the weights as they are
        this.themed();
      });
    this.norms = dropdown("Normalise", [["none", "As they are"], ["row", "By row"], ["col", "By column"]],
      this.shading.norm, (norm) => { this.shading.norm = /** @type {any} */ (norm); this.themed(); });
    this.legend = element("span", { class: "legend" }, [
      element("span"), element("canvas", { width: 96, height: 10 }), element("span")]);
    const zoom = element("span", { class: "segments", role: "group", "aria-label": "Zoom" }, [
      plainButton("−", "Zoom out", () => this.zoomAtMiddle(1 / 1.5)),
      plainButton("+", "Zoom in", () => this.zoomAtMiddle(1.5)),
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
      const picture = asSheet(header.base, arrays.base, header, arrays.exact);
      const twoSided = header.twoSided ?? picture.sheet.codec.signed;
      this.bases.delete(header.id);
      this.bases.set(header.id, {
        picture, twoSided,
        rowMax: arrays.rowMax, colMax: arrays.colMax,
        rowNames: header.rowNames, colNames: header.colNames,
        ranks: null, largest: twoSided ? largestInTile(picture.sheet) : largestSize(arrays.rowMax),
      });
      while (this.bases.size > BASES_KEPT) this.bases.delete(this.bases.keys().next().value);
    }
    this.held = this.bases.get(header.id);
    if (!this.held) { // told that we have what we no longer have
      this.requests.tell({ rows: [0, this.shape[0]], cols: [0, this.shape[1]], have: "" });
      return;
    }
    this.tile = header.tile ? asSheet(header.tile, arrays.tile, header) : null;
    this.requests.waiting = false;
    const { rowTitle = "query", colTitle = "key" } = header;
    this.label = `${header.title}. ${this.shape[0]} rows (${rowTitle}), ${this.shape[1]} columns (${colTitle}). ` +
      "Arrow keys move, plus and minus zoom, 0 shows all, Enter picks a cell.";
    const compact = Boolean(header.compact); // beside others there is no room for more than the zoom
    this.norms.hidden = this.held.twoSided || compact;
    this.scales.group.hidden = this.stage.common.hidden = compact;
    // A page that is told of every pick says what is picked.
    const kept = !header.report && this.space === header.space ? this.picked : null;
    this.picked = header.cell ?? kept;
    const elsewhere = this.space !== header.space;
    this.space = header.space;
    this._chooseScale(first);
    this.themed();
    if (elsewhere) {
      this.cursor = null;
      this.view.fit();
    }
    this.stage.resize();
    if (first && header.view) {
      this.view.show(header.view.rows, header.view.cols);
      this.requests.known({ ...this.view.visible(), have: header.id }); // the page knows where we are
    } else if (elsewhere && this.view.tooTall(READABLE)) {
      this.view.show([0, Math.ceil(this.view.height / READABLE)], [0, this.shape[1]]);
    }
    this._status();
    this.moved();
    if (this.cursor && this.pointer && !this.stage.tipBox.hidden) this.hover(...this.pointer);
  }

  /** One-sided and two-sided maps have each the scale that was chosen for them last. @param {boolean} first */
  _chooseScale(first) {
    const { scale } = this.header;
    const side = this.held.twoSided ? "two" : "one";
    if (scale && scale !== this.asked) this.kinds[side] = scale;
    else if (first && Math.max(...this.shape) > LINEAR_UP_TO) this.kinds.one = "log";
    this.asked = scale;
    this.side = side;
    if (this.kinds[side] !== this.shading.kind) this.scales.choose(this.kinds[side]);
  }

  contentHeight() {
    return 0;
  }

  /** A short or wide map needs no tall frame. */
  naturalHeight() {
    if (!this.held) return 0;
    this._measure();
    const wide = this.stage.width - this.left - 2;
    const rows = Math.max(LEAST_TALL, this.shape[0] * Math.min(wide / this.shape[1], ROOMY));
    return this.head + rows + 4;
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    if (!this.held) return;
    this._measure();
    this.view.resize(this.shape, this.stage.width - this.left - 2, this.stage.height - this.head - 2);
  }

  /** Room for the names. */
  _measure() {
    const ctx = this.stage.picture.getContext("2d");
    ctx.font = this.stage.font(LABEL);
    const room = (names) => { // enough for nine names of ten
      const step = Math.max(1, Math.floor(names.length / 200));
      const widths = [];
      for (let i = 0; i < names.length; i += step) widths.push(ctx.measureText(names[i]).width);
      widths.sort((a, b) => a - b);
      return Math.max(24, Math.min(96, widths[Math.floor(0.9 * (widths.length - 1))]));
    };
    this.wide = room(this.held.colNames);
    this.left = Math.min(room(this.held.rowNames) + 30, this.stage.width / 3);
    this.head = this.wide + 30;
  }

  /** @param {number} x @param {number} y px on the canvas */
  _cellAt(x, y) {
    return this.view.cellAt(x - this.left, y - this.head);
  }

  // ---- moving --------------------------------------------------------------------------------

  /** @param {number} factor @param {number} x @param {number} y px on the canvas */
  zoom(factor, x, y) {
    this.view.zoom(factor, x - this.left, y - this.head);
    this.moved();
  }

  zoomAtMiddle(factor) {
    this.zoom(factor, this.left + this.view.width / 2, this.head + this.view.height / 2);
  }

  /** @param {number} dx @param {number} dy px */
  pan(dx, dy) {
    this.view.pan(dx, dy);
    this.moved();
  }

  reset() {
    this.view.fit();
    this.moved();
  }

  moved() {
    this.stage.repaint();
    if (!this.held) return;
    const { rows, cols } = this.view.visible();
    const view = this.view.whole ? null : { rows, cols, have: this.header.id };
    this.requests.moved(view, this._needsCells(rows, cols), this.header.report);
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
    return moveInMap(this, event);
  }

  /** @param {[number, number]} at @returns {[number, number]} px on the canvas */
  middleOf(at) {
    const [x, y] = this.view.middle(at);
    return [this.left + x, this.head + y];
  }

  // ---- numbers -------------------------------------------------------------------------------

  readAt = (at) => readCell([this.tile, this.held.picture], at);

  /** @param {[number, number]} at @returns {import("./stage.js").TipRow[]} */
  describe(at) {
    return describeCell(this.header, this.held, at, this.readAt(at));
  }

  table() {
    return tableOf(this);
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** Colors have changed. */
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
    this.stage.status(this.requests.waiting ? `${what} Fetching what is in view…` : what);
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
    if (view.cell >= NUMBERS_FROM) drawNumbers(ctx, this);
    if (this.picked) drawOutline(ctx, view, this.picked, theme.selected);
    ctx.restore();
    ctx.strokeStyle = theme.border;
    ctx.lineWidth = 1;
    ctx.strokeRect(this.left - 0.5, this.head - 0.5, view.right + 1, view.bottom + 1);
    ctx.save();
    drawLabels(ctx, this);
    ctx.restore();
    drawFocus(ctx, this);
  }

  drawOver(ctx) {
    if (this.cursor && this.held) drawCrosshair(ctx, this, this.cursor);
  }

  destroy() {
    this.requests.stop();
    clearTimeout(this.clicking);
  }
}

/** @param {any} part of the header @param {any} codes @param {any} header @param {any} [exact] */
function asSheet(part, codes, header, exact = null) {
  const [height, width] = header.arrays[part === header.base ? "base" : "tile"].shape;
  return new Pyramid({ ...part, codes, exact, height, width, codec: codecOf(part.codec) });
}
