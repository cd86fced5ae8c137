// One head's map, or another matrix: pan, zoom, and the number under the pointer.

import { drawCrosshair, drawFocus, drawLabels, drawOutline, LABEL, roomForLabels } from "./axes.js";
import { describeCell, drawNumbers, readCell, tableOf } from "./cells.js";
import { context2d, dropdown, element, plainButton, segments } from "./dom.js";
import { fillMasked } from "./hatch.js";
import { litCells, tokensOfCell } from "./hoverlink.js";
import { Legend } from "./legend.js";
import { MapBases, pyramidOf } from "./mapbases.js";
import { MapGestures } from "./mapgestures.js";
import { mapKeys } from "./mapkeys.js";
import { Mode } from "./mode.js";
import { wentBack } from "./pagehistory.js";
import { covers, tileSide, ViewRequests } from "./requests.js";
import { Shading } from "./shading.js";
import { ROOMY, Viewport } from "./viewport.js";

/**
 * @typedef {import("./payload.js").Cell} Cell
 * @typedef {import("./payload.js").MapHeader} MapHeader
 * @typedef {import("./payload.js").Span} Span
 * @typedef {import("./mapbases.js").MapBase} MapBase
 */

const LINEAR_UP_TO = 128; // tokens; rows of longer maps are too even to tell weights apart
const LEAST_TALL = 64; // px, for the name of the rows
const NUMBERS_FROM = 54; // px a cell: numbers are written into cells
const NUMBERS_TALL = 14; // px that they need at least
const DOUBLE_CLICK = 250; // ms
const ZOOM_STEP = 1.5; // of a button

/** @extends {Mode<Cell>} */
export class MapMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    this.label = "Attention map";
    /** @type {MapHeader | null} */
    this.header = null;
    /** @type {Cell} */
    this.shape = [1, 1];
    this.bases = new MapBases();
    /** @type {MapBase | null} */
    this.base = null; // of the map on screen
    /** @type {import("./pyramid.js").Pyramid | null} */
    this.detail = null; // of part of it
    this.view = new Viewport();
    this.shading = new Shading();
    /** @type {{one: import("./scales.js").ScaleKind, two: import("./scales.js").ScaleKind}} */
    this.kinds = { one: "linear", two: "linear" }; // the scale chosen for one- and two-sided maps
    this.byHand = false; // a person chose the one-sided scale
    /** @type {"one" | "two"} */
    this.side = "one";
    /** @type {import("./scales.js").ScaleKind | undefined} */
    this.scale = undefined; // that the page chose last
    /** @type {Cell | null} */
    this.picked = null;
    /** @type {[number, number] | null} */
    this.pointer = null; // its last position
    this.gestures = new MapGestures(this);
    this.clickTimer = 0;
    this.left = this.head = this.wide = 0; // px, see _measure
    this.requests = new ViewRequests((view) => send("view", view), () => this._status());
    this.keyActions = mapKeys(this);
    this.scales = segments("Color scale",
      [["linear", "Linear"], ["log", "Log"], ["percentile", "Percentile"]],
      this.shading.kind, (/** @type {import("./scales.js").ScaleKind} */ kind) => {
        this.kinds[this.side] = this.shading.kind = kind;
        this.byHand ||= this.side === "one";
        this.norms.disabled = kind === "percentile"; // ranks are of the weights themselves
        this.themed();
      });
    this.norms = dropdown("Normalize", [["none", "Raw"], ["row", "Normalize rows"], ["col", "Normalize columns"]],
      this.shading.norm, (norm) => { this.shading.norm = norm; this.themed(); });
    this.legend = new Legend();
    const zoom = element("span", { class: "segments", role: "group", "aria-label": "Zoom" }, [
      plainButton("−", "Zoom out", () => this.zoomAtMiddle(1 / ZOOM_STEP)),
      plainButton("+", "Zoom in", () => this.zoomAtMiddle(ZOOM_STEP)),
      plainButton("Reset", "Show the whole map", () => this.reset()),
    ]);
    this.setTools([this.scales.group, this.norms, zoom]);
    this.legends = [this.legend.element];
  }

  /** @param {import("./payload.js").MapPayload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    this.header = header;
    this.shape = header.shape;
    this.base = this.bases.receive(header, arrays);
    if (!this.base) { // the page counts on a base that is no longer here
      this.requests.tell({ rows: [0, this.shape[0]], cols: [0, this.shape[1]], have: "" });
      return;
    }
    this.detail = arrays.tile ? pyramidOf(header, "tile", arrays.tile) : null;
    this.requests.waiting = false;
    this._describeControls(header, this.base);
    // A page that hears of every pick says what is picked.
    const kept = !header.report && before?.space === header.space ? this.picked : null;
    this.picked = header.cell ?? kept;
    this._chooseScale(header, this.base);
    this.themed();
    this._restoreView(header, before);
    this._status();
    this.moved();
    if (this.hovered && this.pointer && !this.stage.tipBox.hidden) this.hover(...this.pointer);
  }

  /** @param {MapHeader} header @param {MapBase} base */
  _describeControls(header, base) {
    const { rowTitle = "query", colTitle = "key", compact = false } = header;
    this.label = `${header.title}. ${this.shape[0]} rows (${rowTitle}), ${this.shape[1]} columns (${colTitle}). ` +
      "Arrow keys move, plus and minus zoom, 0 shows the whole map, Enter selects a cell.";
    this.norms.hidden = base.twoSided || compact; // beside other canvases there is room for the zoom alone
    this.scales.group.hidden = compact;
    if (this.stage.tableButton) this.stage.tableButton.hidden = compact;
  }

  /** One- and two-sided maps each keep the scale that a person chose for them; else it is chosen by what is shown. @param {MapHeader} header @param {MapBase} base */
  _chooseScale({ scale }, base) {
    const side = base.twoSided ? "two" : "one";
    if (scale && scale !== this.scale) this.kinds[side] = scale;
    else if (!scale && side === "one" && !this.byHand) this.kinds.one = Math.max(...this.shape) > LINEAR_UP_TO ? "log" : "linear";
    this.scale = scale;
    this.side = side;
    if (this.kinds[side] === this.shading.kind) return;
    const { byHand } = this;
    this.scales.choose(this.kinds[side]);
    this.byHand = byHand;
  }

  /** The viewport stays while rows and columns mean the same. @param {MapHeader} header @param {MapHeader | null} before */
  _restoreView(header, before) {
    const elsewhere = before?.space !== header.space;
    if (elsewhere) {
      this.setHovered(null);
      this.view.fit();
    }
    this.stage.resize();
    if (before && !elsewhere && wentBack()) this.view.fit();
    if ((!before || wentBack()) && header.view) {
      this.view.show(header.view.rows, header.view.cols);
      this.requests.known({ ...this.view.visible(), have: header.id }); // the page knows this view
    } else if (elsewhere) this.view.showTop();
  }

  // ---- layout --------------------------------------------------------------------------------

  /** A short or wide map needs no tall frame. */
  naturalHeight() {
    if (!this.base) return 0;
    this._measure(this.base);
    const wide = this.stage.width - this.left - 2;
    const row = this._fills ? ROOMY : Math.min(wide / this.shape[1], ROOMY);
    const rows = Math.max(LEAST_TALL, this.shape[0] * row);
    return this.head + rows + 4;
  }

  layout() {
    if (!this.base) return;
    const more = this._measure(this.base);
    const { width, height } = this.stage;
    if (!this._fills) { // what a square map leaves free is for long names
      const cell = Math.min(ROOMY, (width - this.left - 2) / this.shape[1], (height - this.head - 2) / this.shape[0]);
      const spare = (/** @type {number} */ room, /** @type {number} */ cells) => Math.max(0, room - 2 - cell * cells);
      this.left += Math.min(more.rows, spare(width - this.left, this.shape[1]));
      this.head += Math.min(more.cols, spare(height - this.head, this.shape[0]));
    }
    this.view.resize(this.shape, width - this.left - 2, height - this.head - 2, this._fills);
  }

  /** Whether the columns are no tokens, as dimensions of a vector: then cells need not be square. */
  get _fills() {
    return !this.header?.colAxis;
  }

  /** Room for the names: enough for nine of ten. @param {MapBase} base @returns {{rows: number, cols: number}} px that the longest ones lack */
  _measure({ rowNames, colNames }) {
    const ctx = context2d(this.stage.picture);
    ctx.font = this.stage.font(LABEL);
    const [rows, cols] = [rowNames, colNames].map((names) => roomForLabels(ctx, names));
    this.wide = cols.room;
    this.left = Math.min(rows.room + 30, this.stage.width / 3);
    this.head = this.wide + 30;
    return { rows: rows.lacking, cols: cols.lacking };
  }

  /** The middle of a cell on the canvas. @param {Cell} at @returns {[number, number]} */
  middleOf(at) {
    const [x, y] = this.view.middle(at);
    return [this.left + x, this.head + y];
  }

  // ---- moving --------------------------------------------------------------------------------

  /** @param {number} factor @param {number} x @param {number} y on the canvas, stays in place */
  zoom(factor, x, y) {
    this.view.zoom(factor, x - this.left, y - this.head);
    this.moved();
  }

  /** @param {number} factor */
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
    if (!this.base || !this.header) return;
    const { rows, cols } = this.view.visible();
    const view = this.view.whole ? null : { rows, cols, have: this.header.id };
    this.requests.moved(view, this._needsDetail(this.base, rows, cols), this.header.report);
    this._status();
  }

  /** Whether the server has more detail of what is on screen. @param {MapBase} base @param {Span} rows @param {Span} cols */
  _needsDetail(base, rows, cols) {
    const coarse = base.pyramid.tile.side;
    if (coarse === 1 || this.view.whole || this.header?.offline) return false;
    const side = tileSide(rows, cols);
    if (side >= coarse || Math.min(this.view.cell, this.view.tall) * coarse * this.stage.dpr < 1) return false;
    const tile = this.detail?.tile;
    return !(tile && tile.side <= side && covers(tile.rows, rows) && covers(tile.cols, cols));
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  itemAt(x, y) {
    return this.view.cellAt(x - this.left, y - this.head);
  }

  /** @param {number} x @param {number} y */
  hover(x, y) {
    this.pointer = [x, y];
    super.hover(x, y);
  }

  /** @param {number} x @param {number} y @param {PointerEvent} event */
  press(x, y, event) {
    this.gestures.press(x, y, event);
    this.stage.hideTip();
  }

  /** @param {number} x @param {number} y @param {PointerEvent} event */
  drag(x, y, event) {
    this.gestures.drag(x, y, event);
    return true;
  }

  /** @param {PointerEvent} event */
  release(event) {
    this.gestures.release(event);
  }

  /** @param {number} x @param {number} y @param {WheelEvent} event */
  wheel(x, y, event) {
    if (event.deltaY > 0 && this.view.whole) return false; // the page scrolls on
    this.gestures.wheel(x, y, event);
    this.hover(x, y);
    return true;
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    const at = this.itemAt(x, y);
    if (!at) return;
    clearTimeout(this.clickTimer);
    this.clickTimer = setTimeout(() => this.pick(at), DOUBLE_CLICK); // a double click is not two picks
  }

  doubleClick() {
    clearTimeout(this.clickTimer);
    this.reset();
  }

  /** @param {Cell} at */
  pick(at) {
    this.picked = at;
    this.stage.repaint();
    this.send("cell", at);
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** The finest number known of a cell. @param {MapBase} base @param {Cell} at */
  read(base, at) {
    return readCell(this.detail ? [this.detail, base.pyramid] : [base.pyramid], at);
  }

  /** @param {Cell} at */
  describe(at) {
    if (!this.header || !this.base) return [];
    const reading = this.read(this.base, at);
    const color = this.shading.describe(reading.tile, at, reading.tile.codes[reading.i]);
    return [...describeCell(this.header, this.base, at, reading), ...color];
  }

  /** @param {Cell} at */
  tokensOf(at) {
    return this.header && tokensOfCell(this.header, at);
  }

  table() {
    return this.header && this.base ? tableOf(this, this.header, this.base) : super.table();
  }

  // ---- drawing -------------------------------------------------------------------------------

  themed() {
    if (!this.base) return;
    this.shading.use(this.base, this.stage.theme);
    this.base.pyramid.forget();
    this.detail?.forget();
    this.shading.explain(this.legend);
    this.stage.repaint();
  }

  _status() {
    const what = this._pooled();
    if (what && this.requests.waiting) this.stage.loading(`${what} Loading this region…`);
    else this.stage.status(what);
  }

  /** What a cell of a long map is. */
  _pooled() {
    const side = this.base?.pyramid.tile.side ?? 1;
    if (side === 1) return "";
    const tile = this.detail?.tile;
    const { rows, cols } = this.view.visible();
    const shown = tile && covers(tile.rows, rows) && covers(tile.cols, cols) ? tile.side : side;
    return shown === 1 ? "Each cell is one weight." : `Each cell is the largest of ${shown} × ${shown} weights.`;
  }

  figure() {
    const scale = `${this.header?.quantity ?? ""}, ${this.shading.kind} scale`;
    return { title: this.stage.title, legends: this.legend.inFigure(scale), note: this._pooled() };
  }

  /** @returns {[number, number]} */
  figureSize() {
    return [this.left + this.view.right + 2, this.head + this.view.bottom + 2];
  }

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    const { base, header, view } = this;
    if (!base || !header) return;
    const { theme, dpr } = this.stage;
    ctx.save();
    ctx.translate(this.left, this.head);
    ctx.beginPath();
    ctx.rect(0, 0, view.width, view.height);
    ctx.clip();
    for (const pyramid of [base.pyramid, this.detail]) {
      pyramid?.draw(ctx, view, dpr, (level, tile) => this.shading.paint(level, tile), (x, y, w, h) => fillMasked(ctx, theme, x, y, w, h));
    }
    if (view.cell >= NUMBERS_FROM && view.tall >= NUMBERS_TALL) drawNumbers(ctx, this, base);
    if (this.picked) drawOutline(ctx, view, this.picked, theme.selected);
    ctx.restore();
    ctx.strokeStyle = theme.border;
    ctx.lineWidth = 1;
    ctx.strokeRect(this.left - 0.5, this.head - 0.5, view.right + 1, view.bottom + 1);
    ctx.save();
    drawLabels(ctx, this, header, base);
    ctx.restore();
    if (header.focus) drawFocus(ctx, this, header.focus, base);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    const { base, header } = this;
    if (!base || !header) return;
    const marks = this.hovered ? [this.hovered] : this.lit ? litCells(header, this.lit) : [];
    for (const at of marks) drawCrosshair(ctx, this, at, base);
  }

  destroy() {
    super.destroy();
    this.requests.stop();
    clearTimeout(this.clickTimer);
  }
}
