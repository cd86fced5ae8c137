// Every head at a glance: thumbnails by layer, or in the order of a number.

import { codecOf, MASKED, shortNumber } from "./codecs.js";
import { colorTable } from "./scales.js";
import { dropdown, slider } from "./dom.js";
import { layoutByLayer, layoutByMetric } from "./gridlayout.js";
import { imageOf } from "./pyramid.js";
import { fitted, spoken } from "./stage.js";

/** @typedef {import("./gridlayout.js").Head} Head */

export class GridMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    this.order = "layers";
    this.metric = 0;
    this.least = 0; // share of the metric's range below which heads are left out
    /** @type {"log" | "linear"} */
    this.scaleKind = "log";
    /** @type {Head[]} */
    this.heads = [];
    /** @type {Head[]} */
    this.shown = [];
    /** @type {import("./gridlayout.js").Mark[]} */
    this.headings = this.marks = [];
    this.content = 0; // px, its height
    /** @type {Head | null} */
    this.hovered = null;
    this.walked = -1; // where the picture was scrolled to when keys chose what is hovered
    this.selected = null;
    this.tools = [];
    this.label = "All heads";
  }

  /** @param {import("./payload.js").Payload} payload */
  receive({ header, arrays }) {
    this.selected = header.selected ?? null;
    if (this.header?.id === header.id) { // the heads know the layers that came with them
      this.stage.repaint();
      return;
    }
    this.header = header;
    this.cells = arrays.cells;
    this.heads = [];
    const width = header.metrics.length;
    const kinds = new Set(header.layers.map((block) => block.kind));
    for (const block of header.layers) {
      const [number] = block.title.match(/\d+$/);
      block.short = (kinds.size > 1 ? block.kind[0].toUpperCase() : "L") + number;
      for (let h = 0; h < (block.heads ?? 0); h++) {
        const i = this.heads.length;
        this.heads.push({
          layer: block.index, head: h, block, at: block.at + h * block.rows * block.cols,
          numbers: arrays.values.subarray(i * width, (i + 1) * width),
          x: 0, y: 0, w: 0, h: 0, faded: false, image: null,
        });
      }
    }
    this.label = `${this.heads.length} heads of ${header.layers.length} layers. Arrow keys move, Enter selects.`;
    if (this.tools.length) this.filter.shown.textContent = this._leastText();
    else this._build();
    this.stage.resize();
  }

  _build() {
    const metrics = this.header.metrics.map((m, i) => [String(i), m.title]);
    const metric = dropdown("Metric", metrics, String(this.metric), (i) => {
      this.metric = Number(i);
      metric.title = this.header.metrics[this.metric].help;
      this._moveFilter();
    });
    metric.title = this.header.metrics[this.metric].help;
    const order = dropdown("Order",
      [["layers", "By layer"], ["down", "Highest first"], ["up", "Lowest first"]],
      this.order, (value) => { this.order = value; this._arrange(); });
    const scale = dropdown("Colour scale", [["log", "Log colours"], ["linear", "Linear colours"]],
      this.scaleKind, (kind) => { this.scaleKind = /** @type {any} */ (kind); this.themed(); });
    this.filter = slider("At least", { min: 0, max: 100, step: 1, value: this.least * 100 },
      () => this._leastText(), (value) => { this.least = value / 100; this._arrange(); });
    this.stage.tools.replaceChildren(order, metric, this.filter.group, scale);
    this.tools = [...this.stage.tools.children];
  }

  _moveFilter() {
    this.filter.shown.textContent = this._leastText();
    this._arrange();
  }

  _range() {
    const known = this.heads.map((h) => h.numbers[this.metric]).filter(Number.isFinite);
    return known.length ? [Math.min(...known), Math.max(...known)] : [0, 0];
  }

  _leastValue() {
    const [low, high] = this._range();
    return this.least ? low + this.least * (high - low) : -Infinity;
  }

  _leastText() {
    const least = this._leastValue();
    return Number.isFinite(least) ? shortNumber(least) : "any";
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    const least = this._leastValue();
    for (const head of this.heads) head.faded = !(head.numbers[this.metric] >= least) && least > -Infinity;
    const { width } = this.stage;
    const height = this._room();
    const placed = this.order === "layers"
      ? layoutByLayer(this.heads, this.header.layers, width, height)
      : layoutByMetric(this.heads, this.metric, this.order === "down", width, height);
    Object.assign(this, placed);
  }

  _arrange() {
    this.stage.resize();
    const kept = this.heads.filter((h) => !h.faded).length;
    this.stage.status(kept === this.heads.length ? "" : `${kept} of ${this.heads.length} heads`);
    this.stage.fillTable();
  }

  /** The height there is for thumbnails: all that the page gives, without toolbar and status. */
  _room() {
    const { most, frame, scroll } = this.stage;
    return most - (frame.offsetHeight - scroll.offsetHeight);
  }

  naturalHeight() {
    this.layout();
    return this.content;
  }

  contentHeight() {
    return this.content;
  }

  _headAt(x, y) {
    const down = y + this.stage.top;
    return this.shown.find((h) => x >= h.x - 1 && x < h.x + h.w + 2 && down >= h.y - 1 && down < h.y + h.h + 2) ?? null;
  }

  // ---- the hand ------------------------------------------------------------------------------

  hover(x, y) {
    const head = this._headAt(x, y);
    this.walked = -1;
    this.stage.picture.style.cursor = head ? "pointer" : "";
    if (head !== this.hovered) {
      this.hovered = head;
      this.stage.repaintOver();
    }
    if (head) this.stage.tip(x, y, this.describe(head));
    else this.stage.hideTip();
  }

  leave() {
    if (this.walked === this.stage.top) return;
    this.stage.hideTip();
    if (this.walked >= 0) return; // what keys chose stays
    this.hovered = null;
    this.stage.repaintOver();
  }

  click(x, y) {
    const head = this._headAt(x, y);
    if (head) this.choose(head);
  }

  choose(head) {
    this.selected = [head.layer, head.head];
    this.stage.repaint();
    this.stage.say(`Selected: ${nameOf(head)}`);
    this.send("selected", this.selected);
  }

  key(event) {
    const { key } = event;
    if (!["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Enter", " "].includes(key)) return false;
    const now = this.hovered ?? this.shown.find((h) => this._isSelected(h)) ?? null;
    if (key === "Enter" || key === " ") {
      if (now) this.choose(now);
      return true;
    }
    const next = now ? this._nearest(now, key) : this.shown[0];
    if (next) {
      this.hovered = next;
      const { scroll, height } = this.stage;
      if (next.y < this.stage.top || next.y + next.h > this.stage.top + height) {
        scroll.scrollTop = next.y - height / 2;
      }
      this.walked = this.stage.top;
      const rows = this.describe(next);
      this.stage.tip(next.x + next.w, next.y + next.h - this.stage.top, rows);
      this.stage.say(spoken(rows));
      this.stage.repaintOver();
    }
    return true;
  }

  _nearest(from, key) {
    const [dx, dy] = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[key];
    let best = null;
    let least = Infinity;
    for (const head of this.shown) {
      const [x, y] = [head.x - from.x, head.y - from.y];
      const ahead = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (ahead > 0 && ahead + 3 * aside < least) [best, least] = [head, ahead + 3 * aside];
    }
    return best ?? from;
  }

  _isSelected(head) {
    return this.selected && this.selected[0] === head.layer && this.selected[1] === head.head;
  }

  /** @param {Head} head @returns {import("./stage.js").TipRow[]} */
  describe(head) {
    const rows = /** @type {import("./stage.js").TipRow[]} */ ([["", nameOf(head)]]);
    this.header.metrics.forEach((metric, i) => {
      if (Number.isFinite(head.numbers[i])) rows.push([metric.title, shortNumber(head.numbers[i])]);
    });
    return rows;
  }

  table() {
    const text = (value) => (Number.isFinite(value) ? shortNumber(value) : "–");
    return {
      caption: "Heads and their metrics",
      columns: ["head", ...this.header.metrics.map((m) => m.title)],
      rows: this.shown.map((h) => [nameOf(h), ...[...h.numbers].map(text)]),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  themed() {
    for (const head of this.heads) head.image = null;
    this.colors = null;
    this.stage.repaint();
  }

  _image(head) {
    const table = (this.colors ??= this._table());
    const { rows, cols } = head.block;
    const pixels = new Uint32Array(rows * cols);
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[this.cells[head.at + i]];
    return imageOf(pixels, cols, rows);
  }

  /** A color for each upper byte of a code. */
  _table() {
    const low = this.scaleKind === "log" ? 1e-3 : 0;
    const scale = { kind: this.scaleKind, low, high: 1, ranks: null };
    const full = colorTable(codecOf({ kind: "significant" }), scale, this.stage.theme.sequential);
    const table = new Uint32Array(256);
    for (let i = 0; i < 255; i++) table[i] = full[Math.min(MASKED - 1, i * 256 + 128)];
    table[0] = 0;
    return table;
  }

  draw(ctx) {
    const { theme, top, height } = this.stage;
    ctx.translate(0, -top);
    ctx.fillStyle = theme.faint;
    ctx.font = this.stage.font(12, "600");
    ctx.textAlign = "left";
    const whole = this.headings.every((heading) => ctx.measureText(heading.text).width <= heading.room);
    for (const heading of this.headings) {
      ctx.fillText(whole ? heading.text : fitted(ctx, heading.short, heading.room), heading.x, heading.y);
    }
    for (const mark of this.marks) {
      if (mark.y < top - 20 || mark.y > top + height + 20) continue;
      ctx.font = this.stage.font(11, mark.strong ? "600" : "400");
      ctx.fillStyle = mark.strong ? theme.text : theme.faint;
      ctx.textAlign = mark.align;
      ctx.fillText(mark.room ? fitted(ctx, mark.text, mark.room + 8) : mark.text, mark.x, mark.y);
    }
    ctx.strokeStyle = theme.border;
    ctx.lineWidth = 1;
    ctx.imageSmoothingEnabled = true;
    for (const head of this.shown) {
      if (head.y + head.h < top || head.y > top + height) continue;
      head.image ??= this._image(head);
      ctx.globalAlpha = head.faded ? 0.12 : 1;
      ctx.imageSmoothingEnabled = head.w < head.block.cols;
      ctx.drawImage(head.image, head.x, head.y, head.w, head.h);
      ctx.strokeRect(head.x - 0.5, head.y - 0.5, head.w + 1, head.h + 1);
      if (this._isSelected(head)) {
        ctx.globalAlpha = 1;
        ctx.strokeStyle = theme.selected;
        ctx.lineWidth = 2.5;
        ctx.strokeRect(head.x - 2, head.y - 2, head.w + 4, head.h + 4);
        ctx.strokeStyle = theme.border;
        ctx.lineWidth = 1;
      }
    }
    ctx.globalAlpha = 1;
  }

  drawOver(ctx) {
    const head = this.hovered;
    if (!head) return;
    ctx.translate(0, -this.stage.top);
    ctx.strokeStyle = this.stage.theme.primary;
    ctx.lineWidth = 2;
    ctx.strokeRect(head.x - 2, head.y - 2, head.w + 4, head.h + 4);
  }

  destroy() {}
}

/** @param {Head} head */
function nameOf(head) {
  return `${head.block.title}, head ${head.head}`;
}
