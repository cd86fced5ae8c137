// A head's attention on its image: as given and as the model gets it, one row of weights at a time.

import { codecOf, shortNumber } from "./codecs.js";
import { context2d, dropdown, element, slider } from "./dom.js";
import { placeOn, tokenOn } from "./hoverlink.js";
import { canvasOfBytes, canvasOfColors, drawImages, outlineBeside, outlinePatch, tokenRects, tokensHigh, WORD_LINE, linesThatFit } from "./imagedraw.js";
import { describePatch, tableOfPatches } from "./imagenumbers.js";
import { BESIDE_WIDE, isWide, layoutImages, patchAt, patchOnSeen } from "./imagelayout.js";
import { AVERAGE, PATCH_RAMP, patchPixels, PatchWeights, patchPercent } from "./imageweights.js";
import { Legend } from "./legend.js";
import { arrowKeys, Mode } from "./mode.js";

const MOST_BESIDE = 8; // tokens beside the patches; the table has all

/**
 * The images that this browser has, by their id: a page sends each once.
 * @type {Map<string, {given: HTMLCanvasElement | null, seen: HTMLCanvasElement}>}
 */
const knownImages = new Map();
const MOST_IMAGES = 12;

/** Items are tokens by their position: patches, and the tokens beside them. @extends {Mode<number>} */
export class ImageMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    this.label = "Image";
    /** @type {import("./payload.js").ImageHeader | null} */
    this.header = null;
    this.weights = new PatchWeights(new Uint16Array(0), 0, 0, { first: 0, n: 0 }, codecOf({ kind: "significant" }));
    /** @type {number | null} */
    this.pinned = null; // the query in focus
    /** @type {import("./imagelayout.js").ImagePlace} */
    this.place = { size: null, box: null, input: [1, 1], grid: [1, 1], patch: [1, 1] };
    /** @type {import("./imagelayout.js").ImageLayout | null} */
    this.boxes = null;
    /** @type {string[]} */
    this.lines = []; // of words, cut to fit
    this.words = "";
    /** @type {number[]} */
    this.beside = []; // tokens that are no patches
    this.isFramed = false; // the model doesn't see all of the image, or more than it
    /** @type {HTMLCanvasElement | null} */
    this.given = null;
    /** @type {HTMLCanvasElement | null} */
    this.seen = null;
    /** @type {import("./imageweights.js").PatchScale} */
    this.scale = "row";
    this.smooth = false;
    this.opacity = 0.7;
    /** @type {{query: number, row: import("./imageweights.js").PatchRow} | null} */
    this._row = null;
    this.legend = new Legend();
    const scales = dropdown("Color scale", [["row", "Color: row"], ["contrast", "Color: row, min–max"],
      ["head", "Color: head"], ["share", "Color: share"]], this.scale, (scale) => { this.scale = scale; this._changed(); });
    scales.title = "From 0 to the row's largest weight on a patch; from its smallest to its largest; from 0 to the head's largest; " +
      "or as shares of the weight on all patches";
    const smooth = element("button", { type: "button", class: "chip", "aria-pressed": "false",
      title: "Blend between patches; without it one patch has one color", click: () => {
        this.smooth = !this.smooth;
        smooth.setAttribute("aria-pressed", String(this.smooth));
        this._changed();
      } }, ["Smooth"]);
    const overlay = slider("Overlay", { min: 0, max: 100, step: 5, value: 70 }, (value) => `${value}%`,
      (value) => { this.opacity = value / 100; this.stage.repaint(); });
    overlay.group.classList.add("short");
    this.setTools([scales, this.legend.element, overlay.group,
      element("span", { role: "group", "aria-label": "Blending" }, [smooth])]);
    this.keyActions = {
      ...arrowKeys((dx, dy) => this._step(dx, dy)),
      Enter: () => this._chooseCurrent(),
      " ": () => this._chooseCurrent(),
      Escape: () => this._letGo(),
    };
  }

  /** @param {import("./payload.js").ImagePayload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    this._receiveImage(header, arrays);
    this.header = header;
    const [rows, columns] = header.grid;
    const { first } = header;
    const n = rows * columns;
    this.pinned = header.query;
    this.weights = new PatchWeights(arrays.codes, header.colNames.length, header.firstRow, { first, n }, codecOf(header.codec));
    this._row = null;
    const box = header.box;
    this.place = {
      size: header.size[0] ? header.size : null, box: box && [box[0], box[1], box[2] - box[0], box[3] - box[1]],
      input: header.input, grid: header.grid, patch: header.patch,
    };
    const beside = header.colNames.map((_, i) => i).filter((i) => i < first || i >= first + n);
    this.beside = beside.slice(0, MOST_BESIDE);
    const hidden = beside.length - this.beside.length;
    this.words = [...header.words, hidden ? `${hidden} more tokens beside the patches are in the table.` : ""].join(" ").trim();
    this.isFramed = Boolean(box) && `${box}` !== `0,0,${header.size}`;
    if (before?.picture !== header.picture) this.setHovered(null);
    this.label = `${header.title}: attention on an image of ${rows} by ${columns} patches. ` +
      "Arrow keys move over patches, Enter keeps one, Escape lets go.";
    this._changed();
    this.stage.resize();
  }

  /** @param {import("./payload.js").ImageHeader} header @param {import("./payload.js").ImagePayload["arrays"]} arrays */
  _receiveImage(header, { given, seen }) {
    if (seen) {
      const { shape } = header.arrays.seen;
      const own = given && header.arrays.given.shape;
      if (knownImages.size >= MOST_IMAGES) knownImages.clear();
      knownImages.set(header.picture, {
        seen: canvasOfBytes(seen, shape[1], shape[0]), given: given && own ? canvasOfBytes(given, own[1], own[0]) : null,
      });
    }
    const known = knownImages.get(header.picture);
    [this.given, this.seen] = [known?.given ?? null, known?.seen ?? null];
    if (!known) this.send("missing", header.picture); // the page counts on an image that is no longer here
  }

  // ---- the row on screen -----------------------------------------------------------------------

  /** The query whose row is shown: kept, or hovered, or the first that stands for the whole image. */
  get query() {
    const { header, pinned } = this;
    if (!header) return AVERAGE;
    if (pinned !== null && this.weights.has(pinned)) return pinned;
    const now = this.hovered ?? this._litQuery();
    if (header.selfAttention && now !== null && this.weights.has(now)) return now;
    if (!header.selfAttention) return header.firstRow + this.weights.nRows - 1;
    return header.first > 0 && this.weights.has(0) ? 0 : AVERAGE;
  }

  /** @returns {import("./imageweights.js").PatchRow} */
  get row() {
    const { query } = this;
    if (this._row?.query !== query) this._row = { query, row: this.weights.row(query) };
    return this._row.row;
  }

  /** The numbers that color the patches, and what the colors span. */
  _shown() {
    const numbers = this.weights.onPatches(this.row, this.scale);
    return { numbers, span: this.weights.span(numbers, this.scale) };
  }

  /** The colors of the patches. @returns {HTMLCanvasElement | null} */
  overlay() {
    if (!this.header || !this.weights.nRows) return null;
    const { numbers, span } = this._shown();
    return canvasOfColors(patchPixels(numbers, this.header.grid, span, this.smooth));
  }

  /** Another row, or other colors. */
  _changed() {
    this._legend();
    this._status();
    this.stage.repaint();
    this.stage.fillTable();
  }

  _legend() {
    const [low, high] = this._shown().span;
    const text = (/** @type {number} */ value) => (this.scale === "share" ? patchPercent(value) : shortNumber(value));
    this.legend.show(this.stage.theme, {
      ramp: PATCH_RAMP, low: text(low), high: text(high), lowCap: false, highCap: false, middle: "", masked: this.masked().length > 0,
    });
  }

  /** Patches that the query may not see. */
  masked() {
    const { first, n } = this.weights.patches;
    return Array.from({ length: n }, (_, p) => first + p).filter((token) => this.weights.isMasked(this.query, token));
  }

  themed() {
    if (this.header) this._legend();
    this.stage.repaint();
  }

  _status() {
    const { header, pinned } = this;
    const smooth = this.smooth ? " Smoothed for the eye: a patch has one weight." : "";
    if (pinned !== null && !this.weights.has(pinned)) this.stage.status("Loading this row…");
    else if (!header?.selfAttention) this.stage.status(`Hover a patch to read its weight.${smooth}`);
    else if (pinned !== null) this.stage.status(`Showing ${this.nameOf(pinned)}. Hover to read its weights, click it again to clear.${smooth}`);
    else this.stage.status(`Hover a patch to see what it attends to; click to keep it.${smooth}`);
  }

  // ---- names and numbers -----------------------------------------------------------------------

  /** A patch's row and column. @param {number} token @returns {[number, number] | null} */
  cellOf(token) {
    const { first = 0, grid = [0, 0] } = this.header ?? {};
    const at = token - first;
    return at >= 0 && at < grid[0] * grid[1] ? [Math.floor(at / grid[1]), at % grid[1]] : null;
  }

  /** @param {number} token a key, or AVERAGE */
  nameOf(token) {
    if (token === AVERAGE) return "All patches, averaged";
    const cell = this.cellOf(token);
    return cell ? `patch (${cell.join(", ")})` : this.header?.colNames[token] ?? "";
  }

  /** The row on screen, in words. */
  get heading() {
    const { query, header } = this;
    const name = header && !header.selfAttention ? `${query} “${header.rowNames[query]}”` : this.nameOf(query);
    return `${name[0]?.toUpperCase() ?? ""}${name.slice(1)} → patches`;
  }

  /** @param {number} key */
  weightText(key) {
    return this.weights.text(this.query, key, this.row);
  }

  /** @param {number} key */
  describe(key) {
    return describePatch(this, key);
  }

  table() {
    return tableOfPatches(this);
  }

  /** @param {number} token */
  tokensOf(token) {
    const { header, query } = this;
    if (!header) return null;
    const isQuery = header.selfAttention && this.pinned === null;
    return { query: query === AVERAGE ? null : tokenOn(header.rowAxis, query), key: isQuery ? null : tokenOn(header.colAxis, token) };
  }

  // ---- layout ----------------------------------------------------------------------------------

  /** Px of the words and of the tokens, in their columns. @returns {[number, number]} */
  _under() {
    const { width } = this.stage;
    const ctx = context2d(this.stage.picture);
    ctx.font = this.stage.font(12);
    this.lines = linesThatFit(ctx, this.words, width);
    const room = isWide(this.place, width) ? BESIDE_WIDE : width;
    return [this.lines.length * WORD_LINE, this.beside.length ? tokensHigh(room, this.beside.length + 1) : 0];
  }

  layout() {
    this.boxes = layoutImages(this.place, this.stage.width, this.stage.height, ...this._under());
  }

  naturalHeight() {
    return layoutImages(this.place, this.stage.width, Infinity, ...this._under()).bottom;
  }

  contentHeight() {
    return this.boxes?.bottom ?? 0;
  }

  /** The middle of a token, on the canvas. @param {number} token @returns {[number, number]} */
  middleOf(token) {
    const [x, y, w, h] = this._rectOf(token);
    return [x + w / 2, y + h / 2 - this.stage.top];
  }

  /** @param {number} token @returns {import("./imagelayout.js").Rect} */
  _rectOf(token) {
    const cell = this.cellOf(token);
    if (!this.boxes) return [0, 0, 0, 0];
    if (cell) return patchOnSeen(this.place, this.boxes, ...cell);
    return tokenRects(this.boxes.chips, this.beside.length + 1)[this.beside.indexOf(token)] ?? [0, 0, 0, 0];
  }

  // ---- pointer and keys ------------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  itemAt(x, y) {
    if (!this.boxes || !this.header) return null;
    const at = y + this.stage.top;
    const cell = patchAt(this.place, this.boxes, x, at);
    if (cell) return this.header.first + cell[0] * this.header.grid[1] + cell[1];
    const found = tokenRects(this.boxes.chips, this.beside.length + 1)
      .findIndex(([left, top, w, h]) => x >= left && x < left + w && at >= top && at < top + h);
    return this.beside[found] ?? null;
  }

  isClickable() {
    return Boolean(this.header?.selfAttention);
  }

  hoverChanged() {
    if (this.pinned === null && this.header?.selfAttention) this._another();
    else this.stage.repaintOver();
  }

  /** Another row: what depends on it, but not its table, which would jump. */
  _another() {
    this._legend();
    this.stage.repaint();
  }

  /** @param {import("./hoverlink.js").LitTokens | null} lit */
  _light(lit) {
    const query = this.query;
    super._light(lit);
    if (this.query !== query) this._another();
  }

  /** The query that is hovered in another canvas. */
  _litQuery() {
    const { header, lit } = this;
    return header && lit ? placeOn(header.rowAxis, header.rowNames.length, lit.query) : null;
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    const token = this.itemAt(x, y);
    if (token !== null) this.keep(token);
  }

  /** Keep a query; the kept one, or null, lets go. @param {number | null} token */
  keep(token) {
    if (!this.header?.selfAttention) return;
    this.pinned = token === this.pinned ? null : token;
    this._changed();
    this.send("token", this.pinned === null ? null : { side: "row", index: this.pinned });
  }

  _chooseCurrent() {
    if (this.hovered !== null) this.keep(this.hovered);
  }

  _letGo() {
    this.setHovered(null);
    this.stage.hideTip();
    if (this.pinned !== null) this.keep(null);
  }

  /** Over the patches; up from their first row is the tokens beside them. @param {number} dx @param {number} dy */
  _step(dx, dy) {
    const { header } = this;
    if (!header) return;
    const [rows, columns] = header.grid;
    const { first } = header;
    const now = this.hovered ?? this.pinned ?? first - 1;
    const cell = this.cellOf(now);
    const last = (/** @type {number} */ i, /** @type {number} */ n) => Math.max(0, Math.min(n - 1, i));
    let next = first;
    if (cell && cell[0] + dy < 0 && this.beside.length) next = this.beside[0];
    else if (cell) next = first + last(cell[0] + dy, rows) * columns + last(cell[1] + dx, columns);
    else if (dx && this.beside.includes(now)) next = this.beside[last(this.beside.indexOf(now) + dx, this.beside.length)];
    const [, y, , h] = this._rectOf(next);
    this.hoverByKey(next, { top: y, bottom: y + h, scrollTo: y - 60 }, () => this.middleOf(next));
  }

  // ---- drawing ---------------------------------------------------------------------------------

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    drawImages(ctx, this);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    const { header, lit, stage } = this;
    if (!header) return;
    const key = lit ? placeOn(header.colAxis, header.colNames.length, lit.key) : null;
    const query = lit && header.selfAttention ? this._litQuery() : null;
    ctx.save();
    ctx.translate(0, -stage.top);
    for (const token of new Set([this.hovered, query, key])) {
      if (token === null) continue;
      outlinePatch(ctx, this, token, token === query ? stage.theme.selected : stage.theme.primary);
      if (!this.cellOf(token) && this.beside.includes(token)) outlineBeside(ctx, this._rectOf(token), stage.theme.selected);
    }
    ctx.restore();
  }

  /** @returns {import("./figure.js").FigureTexts} */
  figure() {
    const name = this.scale === "share" ? "share of the weight on the patches" : "weight";
    const smooth = this.smooth ? "Smoothed between patches. " : "One color for each patch. ";
    return {
      title: `${this.stage.title}: ${this.heading}`, legends: this.legend.inFigure(name),
      note: `${smooth}Overlay ${Math.round(this.opacity * 100)}%.`,
    };
  }
}
