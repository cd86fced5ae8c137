// One head's map: pan, zoom, and the number under the hand.

import { codecOf, MASKED, shortNumber } from "./numbers.js";
import { colourTable, cssColour, isBright, placeOn, ranksOf } from "./colours.js";
import { dropdown, element, plainButton, segments } from "./dom.js";
import { SheetPicture } from "./pictures.js";
import { fitted, labelStep } from "./stage.js";

const LARGEST = 120; // px a cell
const ROOMY = 56; // px a cell at first: three tokens need not fill a screen
const DETAIL = 1024; // squares along one side of a tile, as ../map.py cuts them
const ASK_AFTER = 150; // ms without a move until cells are asked for
const TELL_AFTER = 500; // ms until a move is told for the link alone
const BASES_KEPT = 4;
const TABLE_CELLS = 24;

export class MapMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    /** @type {Map<string, any>} what was sent with a base, by map */
    this.bases = new Map();
    /** @type {SheetPicture | null} */
    this.tile = null;
    this.scaleKind = "linear";
    this.norm = "none";
    this.x = this.y = 0; // px from the plot's corner to the map's first cell
    this.cell = 0; // px a cell
    this.space = "";
    this.cursor = null; // the cell under the pointer or the keys: [row, column]
    this.picked = null;
    this.lastSent = "null";
    this.pointers = new Map();
    this.waiting = false;
    this.label = "Attention map";
    this._build();
  }

  _build() {
    this.scales = segments("Colour scale",
      [["linear", "Linear"], ["log", "Log"], ["percentile", "Percentile"]],
      this.scaleKind, (kind) => {
        this.scaleKind = kind;
        this.norms.disabled = kind === "percentile"; // ranks are of the weights as they are
        this.themed();
      });
    this.norms = dropdown("Normalise", [["none", "As they are"], ["row", "By row"], ["col", "By column"]],
      this.norm, (norm) => { this.norm = norm; this.themed(); });
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
        ranks: null,
      });
      while (this.bases.size > BASES_KEPT) this.bases.delete(this.bases.keys().next().value);
    }
    this.held = this.bases.get(header.id);
    if (!this.held) { // told that we have what we no longer have
      this._tell({ rows: [0, this.shape[0]], cols: [0, this.shape[1]], have: "" });
      return;
    }
    this.tile = header.tile ? asSheet(header.tile, arrays.tile, header) : null;
    this.waiting = false;
    this.codec = this.held.picture.sheet.codec;
    this.label = `${header.title}. ${this.shape[0]} queries in rows, ${this.shape[1]} keys in columns. ` +
      "Arrow keys move, plus and minus zoom, 0 shows all, Enter picks a cell.";
    this.scales.group.hidden = this.norms.hidden = this.codec.signed;
    this.picked = header.cell ?? (this.space === header.space ? this.picked : null);
    const elsewhere = this.space !== header.space;
    this.space = header.space;
    this.themed();
    if (elsewhere) {
      this.cursor = null;
      this.cell = 0;
    }
    this.stage.resize();
    if (first && header.view) this._showPart(header.view.rows, header.view.cols);
    this._status();
    this._moved();
  }

  contentHeight() {
    return 0;
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    if (!this.held) return;
    const ctx = this.stage.picture.getContext("2d");
    ctx.font = this.stage.font(12);
    const longest = (names) => {
      const step = Math.max(1, Math.floor(names.length / 200));
      let most = 20;
      for (let i = 0; i < names.length; i += step) most = Math.max(most, ctx.measureText(names[i]).width);
      return Math.min(most, 96) + 14;
    };
    this.left = Math.min(longest(this.held.rowNames) + 18, this.stage.width / 3);
    this.head = Math.min(longest(this.held.colNames) + 18, this.stage.height / 3);
    this.plotWidth = this.stage.width - this.left - 2;
    this.plotHeight = this.stage.height - this.head - 2;
    const fit = this._fit();
    if (!this.cell || this.cell < fit || this.atFit) this._setToFit();
    else this._clamp();
  }

  _fit() {
    return Math.min(this.plotWidth / this.shape[1], this.plotHeight / this.shape[0], ROOMY);
  }

  _setToFit() {
    this.cell = this._fit();
    this.x = this.y = 0;
    this.atFit = true;
  }

  _showPart(rows, cols) {
    const cell = Math.min(this.plotWidth / (cols[1] - cols[0]), this.plotHeight / (rows[1] - rows[0]));
    this.cell = Math.min(LARGEST, Math.max(this._fit(), cell));
    this.x = -cols[0] * this.cell;
    this.y = -rows[0] * this.cell;
    this._clamp();
  }

  _clamp() {
    const room = (plot, n) => Math.min(0, plot - n * this.cell);
    this.x = Math.min(0, Math.max(this.x, room(this.plotWidth, this.shape[1])));
    this.y = Math.min(0, Math.max(this.y, room(this.plotHeight, this.shape[0])));
    this.atFit = this.cell <= this._fit() * 1.0001;
  }

  /** The cells on screen. */
  visible() {
    const span = (offset, plot, n) => [
      Math.max(0, Math.min(n - 1, Math.floor(-offset / this.cell + 1e-6))),
      Math.min(n, Math.ceil((plot - offset) / this.cell - 1e-6))];
    return { rows: span(this.y, this.plotHeight, this.shape[0]), cols: span(this.x, this.plotWidth, this.shape[1]) };
  }

  _cellAt(x, y) {
    const col = Math.floor((x - this.left - this.x) / this.cell);
    const row = Math.floor((y - this.head - this.y) / this.cell);
    const inside = x >= this.left && y >= this.head &&
      row >= 0 && col >= 0 && row < this.shape[0] && col < this.shape[1];
    return inside ? [row, col] : null;
  }

  // ---- moving --------------------------------------------------------------------------------

  /** @param {number} factor @param {number} x @param {number} y px on the canvas */
  zoom(factor, x, y) {
    const cell = Math.min(LARGEST, Math.max(this._fit(), this.cell * factor));
    const [px, py] = [x - this.left, y - this.head];
    this.x = px - ((px - this.x) * cell) / this.cell;
    this.y = py - ((py - this.y) * cell) / this.cell;
    this.cell = cell;
    this._clamp();
    this._moved();
  }

  _zoomAtMiddle(factor) {
    this.zoom(factor, this.left + this.plotWidth / 2, this.head + this.plotHeight / 2);
  }

  /** @param {number} dx @param {number} dy px */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this._clamp();
    this._moved();
  }

  reset() {
    this._setToFit();
    this._moved();
  }

  _moved() {
    this.stage.repaint();
    clearTimeout(this.timer);
    if (!this.held) return;
    const { rows, cols } = this.visible();
    const view = this.atFit ? null : { rows, cols, have: this.header.id };
    const needed = this._needsCells(rows, cols);
    if (needed) this.timer = setTimeout(() => { this.waiting = true; this._status(); this._tell(view); }, ASK_AFTER);
    else if (this.header.report || (view === null && this.lastSent !== "null")) {
      this.timer = setTimeout(() => this._tell(view), TELL_AFTER);
    }
    this._status();
  }

  /** Whether what is on screen could be had in more detail. */
  _needsCells(rows, cols) {
    const base = this.held.picture.sheet.side;
    if (base === 1 || this.atFit) return false;
    const most = 1.5 * Math.max(rows[1] - rows[0], cols[1] - cols[0]);
    let side = 1;
    while (most / side > DETAIL) side *= 2;
    if (side >= base || this.cell * base * this.stage.dpr < 1) return false;
    const t = this.tile?.sheet;
    return !(t && t.side <= side && covers(t.rows, rows) && covers(t.cols, cols));
  }

  _tell(view) {
    const said = JSON.stringify(view);
    if (said === this.lastSent) return;
    this.lastSent = said;
    this.send("view", view);
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
    if (out && this.atFit) return false; // the page scrolls on
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

  _corner() {
    const { rows, cols } = this.visible();
    return [rows[0], cols[0]];
  }

  _goTo([row, col]) {
    this.cursor = [
      Math.max(0, Math.min(this.shape[0] - 1, row)), Math.max(0, Math.min(this.shape[1] - 1, col))];
    const into = (offset, plot, at) => Math.max(-at * this.cell, Math.min(offset, plot - (at + 1) * this.cell));
    this.x = into(this.x, this.plotWidth, this.cursor[1]);
    this.y = into(this.y, this.plotHeight, this.cursor[0]);
    this._clamp();
    this._moved();
    const rows = this.describe(this.cursor);
    this.stage.tip(this.left + this.x + (this.cursor[1] + 0.5) * this.cell,
      this.head + this.y + (this.cursor[0] + 0.5) * this.cell, rows);
    this.stage.say(rows.map(([name, text]) => `${name} ${text}`).join(", "));
  }

  _zoomOnCursor(factor) {
    if (!this.cursor) this._zoomAtMiddle(factor);
    else this.zoom(factor, this.left + this.x + (this.cursor[1] + 0.5) * this.cell,
      this.head + this.y + (this.cursor[0] + 0.5) * this.cell);
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

  /** @returns {[string, string][]} */
  describe(at) {
    const { sheet, code } = this.codeAt(at);
    const name = (names, i) => `${i} · ${names[i]}`;
    const rows = /** @type {[string, string][]} */ ([
      ["query", name(this.held.rowNames, at[0])], ["key", name(this.held.colNames, at[1])]]);
    const what = this.header.quantity.replace(/s$/, "");
    if (sheet.side === 1) rows.push([what, sheet.codec.text(code)]);
    else {
      rows.push([`largest ${what} of ${sheet.side} × ${sheet.side}`, sheet.codec.text(code)]);
    }
    return rows;
  }

  table() {
    const { rows, cols } = this.visible();
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
      columns: ["query", ...numbers(c0, c1).map((j) => `${j} ${this.held.colNames[j]}`)],
      rows: numbers(r0, r1).map((i) => [`${i} ${this.held.rowNames[i]}`,
        ...numbers(c0, c1).map((j) => {
          const { sheet, code } = this.codeAt([i, j]);
          return (sheet.side === 1 ? "" : "≤ ") + sheet.codec.text(code);
        })]),
    };
  }

  // ---- colours -------------------------------------------------------------------------------

  /** Colours have changed. */
  themed() {
    if (!this.held) return;
    this.held.picture.forget();
    this.tile?.forget();
    this.tables = new Map();
    this._legend();
    this.stage.repaint();
  }

  /** @param {import("./pictures.js").Sheet} sheet */
  _scale(sheet) {
    const high = this.norm === "none" ? this._largest() : 1;
    if (this.codec.signed) return { kind: "linear", low: -high, high, ranks: null };
    let ranks = null;
    if (this.scaleKind === "percentile") {
      ranks = this.held.ranks ??= ranksOf(this.held.picture.sheet.codes);
    }
    return { kind: this.scaleKind, low: this.scaleKind === "log" ? high * 1e-4 : 0, high, ranks };
  }

  _largest() {
    let most = 0;
    const { rowMax } = this.held;
    for (let i = 0; i < rowMax.length; i++) {
      const size = Math.abs(rowMax[i]);
      if (Number.isFinite(size) && size > most) most = size;
    }
    return most || 1;
  }

  _colours() {
    return this.codec.signed ? this.stage.theme.diverging : this.stage.theme.sequential;
  }

  /** Pixels of some level of a sheet. */
  _paint(codes, level, sheet) {
    const scale = this._scale(sheet);
    const colours = this._colours();
    const out = new Uint32Array(codes.length);
    if (this.norm === "none" || this.scaleKind === "percentile" || this.codec.signed) {
      const table = colourTable(sheet.codec, scale, colours);
      if (sheet.side > 1 && !this.codec.signed) table[0] = 0; // nothing there, most likely masked
      for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]];
      return out;
    }
    const byRow = this.norm === "row";
    const tops = this._tops(byRow, sheet, level);
    const { values } = sheet.codec;
    for (let i = 0; i < level.height; i++) {
      for (let j = 0; j < level.width; j++) {
        const code = codes[i * level.width + j];
        if (code === MASKED || (code === 0 && sheet.side > 1)) continue;
        const share = values[code] / (tops[byRow ? i : j] || 1);
        out[i * level.width + j] = colours[Math.round(placeOn(scale, Math.min(1, share), code) * 255)];
      }
    }
    return out;
  }

  /** The largest weight of the rows (or columns) that each line of a level stands for. */
  _tops(byRow, sheet, level) {
    const max = byRow ? this.held.rowMax : this.held.colMax;
    const [start, stop] = byRow ? sheet.rows : sheet.cols;
    const side = sheet.side * level.factor;
    const out = new Float32Array(byRow ? level.height : level.width);
    for (let i = start; i < stop; i++) {
      const at = Math.floor((i - start) / side);
      if (max[i] > out[at]) out[at] = max[i];
    }
    return out;
  }

  _legend() {
    const [low, bar, high] = this.legend.children;
    const scale = this._scale(this.held.picture.sheet);
    const ctx = bar.getContext("2d");
    const colours = this._colours();
    for (let i = 0; i < bar.width; i++) {
      ctx.fillStyle = cssColour(colours[Math.round((i / (bar.width - 1)) * 255)]);
      ctx.fillRect(i, 0, 1, bar.height);
    }
    const ends = scale.kind === "percentile" ? ["0%", "100%"] : [shortNumber(scale.low), shortNumber(scale.high)];
    if (this.norm !== "none" && scale.kind !== "percentile") ends[1] = `${this.norm === "row" ? "row" : "column"} max`;
    [low.textContent, high.textContent] = ends;
  }

  _status() {
    const { side } = this.held.picture.sheet;
    if (side === 1) return this.stage.status("");
    const t = this.tile?.sheet;
    const { rows, cols } = this.visible();
    const shown = t && covers(t.rows, rows) && covers(t.cols, cols) ? t.side : side;
    const what = shown === 1 ? "Every cell is one weight." : `Each cell is the largest of ${shown} × ${shown} weights.`;
    this.stage.status(this.waiting ? `${what} Fetching what is in view…` : what);
  }

  // ---- drawing -------------------------------------------------------------------------------

  draw(ctx) {
    if (!this.held) return;
    const { theme, dpr } = this.stage;
    const place = { x: this.x, y: this.y, cell: this.cell, width: this.plotWidth, height: this.plotHeight };
    ctx.save();
    ctx.translate(this.left, this.head);
    ctx.beginPath();
    ctx.rect(0, 0, this.plotWidth, this.plotHeight);
    ctx.clip();
    const paint = (codes, level, sheet) => this._paint(codes, level, sheet);
    this.held.picture.draw(ctx, place, dpr, paint);
    this.tile?.draw(ctx, place, dpr, paint);
    if (this.cell >= 46) this._numbers(ctx);
    if (this.picked) this._outline(ctx, this.picked, theme.mark);
    ctx.restore();
    ctx.strokeStyle = theme.border;
    ctx.lineWidth = 1;
    ctx.strokeRect(this.left - 0.5, this.head - 0.5,
      Math.min(this.plotWidth, this.x + this.shape[1] * this.cell) + 1,
      Math.min(this.plotHeight, this.y + this.shape[0] * this.cell) + 1);
    this._labels(ctx);
  }

  _numbers(ctx) {
    const { rows, cols } = this.visible();
    ctx.font = this.stage.font(11);
    ctx.textAlign = "center";
    const tables = (this.tables ??= new Map());
    for (let i = rows[0]; i < rows[1]; i++) {
      for (let j = cols[0]; j < cols[1]; j++) {
        const { sheet, code } = this.codeAt([i, j]);
        if (sheet.side > 1 || code === MASKED) continue;
        if (!tables.has(sheet)) tables.set(sheet, colourTable(sheet.codec, this._scale(sheet), this._colours()));
        const colour = this.norm === "none" ? tables.get(sheet)[code] : this._paintOne(sheet, i, j, code);
        ctx.fillStyle = isBright(colour) ? "#10151b" : "#ffffff";
        ctx.fillText(sheet.codec.text(code), this.x + (j + 0.5) * this.cell, this.y + (i + 0.5) * this.cell);
      }
    }
  }

  _paintOne(sheet, i, j, code) {
    const top = this.norm === "row" ? this.held.rowMax[i] : this.held.colMax[j];
    const share = Math.min(1, sheet.codec.values[code] / (top || 1));
    return this._colours()[Math.round(placeOn(this._scale(sheet), share, code) * 255)];
  }

  _outline(ctx, [row, col], colour) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2;
    const size = Math.max(this.cell, 5);
    const middle = (offset, at) => offset + (at + 0.5) * this.cell - size / 2;
    ctx.strokeRect(middle(this.x, col), middle(this.y, row), size, size);
  }

  _labels(ctx) {
    const { theme } = this.stage;
    const { rows, cols } = this.visible();
    const size = 12;
    ctx.font = this.stage.font(size);
    ctx.fillStyle = theme.text;
    const step = labelStep(this.cell, size + 3);
    const from = (start) => Math.ceil(start / step) * step;
    ctx.textAlign = "right";
    for (let i = from(rows[0]); i < rows[1]; i += step) {
      const y = this.head + this.y + (i + 0.5) * this.cell;
      if (y < this.head + 4 || y > this.stage.height - 4) continue;
      ctx.fillText(fitted(ctx, this.held.rowNames[i], this.left - 26), this.left - 8, y);
    }
    const flat = this.cell >= 60;
    for (let j = from(cols[0]); j < cols[1]; j += step) {
      const x = this.left + this.x + (j + 0.5) * this.cell;
      if (x < this.left + 4 || x > this.stage.width - 4) continue;
      ctx.save();
      ctx.translate(x, this.head - 8);
      if (!flat) ctx.rotate(-Math.PI / 2);
      ctx.textAlign = flat ? "center" : "left";
      ctx.fillText(fitted(ctx, this.held.colNames[j], flat ? this.cell - 6 : this.head - 26), 0, flat ? -4 : 0);
      ctx.restore();
    }
    ctx.fillStyle = theme.faint;
    ctx.font = this.stage.font(11);
    ctx.textAlign = "left";
    ctx.fillText("key →", this.left, 9);
    ctx.save();
    ctx.translate(9, this.head);
    ctx.rotate(-Math.PI / 2);
    ctx.textAlign = "right";
    ctx.fillText("← query", 0, 0);
    ctx.restore();
  }

  drawOver(ctx) {
    if (!this.cursor || !this.held) return;
    const { theme } = this.stage;
    const [row, col] = this.cursor;
    const x = this.left + this.x + col * this.cell;
    const y = this.head + this.y + row * this.cell;
    const right = Math.min(this.stage.width - 2, this.left + this.x + this.shape[1] * this.cell);
    const bottom = Math.min(this.stage.height - 2, this.head + this.y + this.shape[0] * this.cell);
    const thick = Math.max(1, this.cell);
    ctx.save();
    ctx.beginPath();
    ctx.rect(this.left, this.head, right - this.left, bottom - this.head);
    ctx.clip();
    ctx.globalAlpha = 0.16;
    ctx.fillStyle = theme.mark;
    ctx.fillRect(this.left, y, right, thick);
    ctx.fillRect(x, this.head, thick, bottom);
    ctx.globalAlpha = 1;
    ctx.translate(this.left, this.head);
    this._outline(ctx, this.cursor, theme.mark);
    ctx.restore();
    this._flag(ctx, this.held.rowNames[row], this.left - 4, y + this.cell / 2, false);
    this._flag(ctx, this.held.colNames[col], x + this.cell / 2, this.head - 4, true);
  }

  /** A token's name at the edge, over the labels that are there. */
  _flag(ctx, name, x, y, above) {
    const { theme } = this.stage;
    ctx.save();
    ctx.font = this.stage.font(12, "600");
    const text = fitted(ctx, name, 140);
    const width = ctx.measureText(text).width + 10;
    ctx.translate(x, y);
    if (above && this.cell < 60) ctx.rotate(-Math.PI / 2);
    const flat = above && this.cell >= 60;
    const left = flat ? -width / 2 : above ? 0 : -width;
    ctx.fillStyle = theme.mark;
    ctx.fillRect(left, flat ? -20 : -9, width, 18);
    ctx.fillStyle = theme.dark ? "#10151b" : "#ffffff";
    ctx.textAlign = "left";
    ctx.fillText(text, left + 5, flat ? -11 : 0);
    ctx.restore();
  }

  destroy() {
    clearTimeout(this.timer);
    clearTimeout(this.clicking);
  }
}

/** @param {[number, number]} a @param {[number, number]} b */
function covers(a, b) {
  return a[0] <= b[0] && a[1] >= b[1];
}

/** @param {any} part @param {any} codes @param {any} header */
function asSheet(part, codes, header) {
  const [height, width] = header.arrays[part === header.base ? "base" : "tile"].shape;
  return new SheetPicture({ ...part, codes, height, width, codec: codecOf(part.codec) });
}
