// Every head at a glance: thumbnails by layer, or in the order of a metric.

import { shortNumber } from "./codecs.js";
import { context2d, dropdown, element, slider } from "./dom.js";
import { GridColors } from "./gridcolors.js";
import { gridContent, headsOf } from "./gridheads.js";
import { layoutByLayer, layoutByMetric } from "./gridlayout.js";
import { fillMasked, hatchPath } from "./hatch.js";
import { Legend } from "./legend.js";
import { arrowKeys, Mode } from "./mode.js";
import { imageOf } from "./pyramid.js";
import { fitted } from "./text.js";

/** @typedef {import("./gridlayout.js").Head} Head */
/** @typedef {import("./gridheads.js").GridContent} GridContent */

const PREVIEW = 192; // px of a thumbnail in the tooltip

/** @extends {Mode<Head>} */
export class GridMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    this.label = "All heads";
    /** @type {GridContent | null} */
    this.content = null;
    /** @type {"layers" | "down" | "up"} */
    this.order = "layers";
    this.metric = 0;
    this.least = 0; // share of the metric's range below which heads are filtered out
    this.colors = new GridColors();
    this.legend = new Legend();
    this.legends = [this.legend.element];
    /** @type {Head[]} */
    this.heads = [];
    /** @type {Head[]} */
    this.shown = [];
    /** @type {import("./gridlayout.js").Mark[]} */
    this.headings = [];
    /** @type {import("./gridlayout.js").Mark[]} */
    this.marks = [];
    this.bottom = 0; // px, the height of all
    /** @type {[number, number] | null} */
    this.selected = null; // layer and head
    this.filter = slider("Hide heads below", { min: 0, max: 100, step: 1, value: 0 },
      () => this._leastText(), (value) => { this.least = value / 100; this._arrange(); });
    this.keyActions = {
      ...arrowKeys((dx, dy) => this._step(dx, dy)),
      Enter: () => this._chooseCurrent(),
      " ": () => this._chooseCurrent(),
    };
  }

  /** @param {import("./payload.js").GridPayload} payload */
  receive(payload) {
    const { header } = payload;
    const content = gridContent(payload);
    const before = this.selected;
    this.selected = header.selected ?? null;
    if (!content) { // the page counts on a grid that is no longer here
      this.send("missing", header.id);
      return;
    }
    if (this.content?.id === content.id) { // only the selection is new
      if (String(before) !== String(this.selected)) this._reveal();
      this.stage.repaint();
      return;
    }
    const first = !this.content;
    this.content = content;
    this.setHovered(null);
    this.stage.hideTip();
    this.heads = headsOf(content);
    this.themed();
    this.label = `${this.heads.length} heads of ${content.layers.length} layers. Arrow keys move, Enter selects.`;
    if (first) this._build(content, header.compact ?? false);
    this.filter.shown.textContent = this._leastText();
    this.stage.resize();
    if (first) this._reveal();
    this._status();
  }

  /** Scroll to the selected head, if it is not on screen. */
  _reveal() {
    const head = this.shown.find((h) => this._isSelected(h));
    const { top, height, scroll } = this.stage;
    if (head && (head.y < top || head.y + head.h > top + height)) scroll.scrollTop = head.y - (height - head.h) / 2;
  }

  /** What the picture doesn't show, in words. */
  _status() {
    const layers = (this.content?.layers ?? []).filter((one) => one.reason === null);
    const read = layers.filter((one) => one.at !== undefined).length;
    const kept = this.heads.filter((h) => !h.faded).length;
    if (read < layers.length) this.stage.status(`Computing all heads: layer ${read} of ${layers.length} …`);
    else this.stage.status(kept === this.heads.length ? "" : `${kept} of ${this.heads.length} heads`);
  }

  /** @param {GridContent} content @param {boolean} compact beside other canvases there is room for order and color alone */
  _build({ metrics }, compact) {
    const metric = dropdown("Metric", metrics.map(({ title }, i) => [String(i), title]), String(this.metric), (i) => {
      this.metric = Number(i);
      metric.title = metrics[this.metric].help;
      this.filter.shown.textContent = this._leastText();
      this._arrange();
    });
    metric.title = metrics[this.metric].help;
    const order = dropdown("Order",
      [["layers", "By layer"], ["down", "Highest first"], ["up", "Lowest first"]],
      this.order, (value) => { this.order = value; this._arrange(); });
    const scale = dropdown("Color scale", [["log", "Color: log"], ["linear", "Color: linear"]],
      this.colors.kind, (kind) => { this.colors.kind = kind; this.themed(); });
    this.setTools(compact ? [order, scale] : [order, metric, scale, this.filter.group]);
  }

  _leastValue() {
    if (!this.least) return -Infinity;
    const known = this.heads.map((h) => h.numbers[this.metric]).filter(Number.isFinite);
    if (!known.length) return 0;
    const low = Math.min(...known);
    return low + this.least * (Math.max(...known) - low);
  }

  _leastText() {
    const least = this._leastValue();
    return Number.isFinite(least) ? shortNumber(least) : "off";
  }

  // ---- layout --------------------------------------------------------------------------------

  layout() {
    if (!this.content) return;
    const least = this._leastValue();
    for (const head of this.heads) head.faded = !(head.numbers[this.metric] >= least) && least > -Infinity;
    const { width } = this.stage;
    const layout = this.order === "layers"
      ? layoutByLayer(this.heads, this.content.layers, width, this._room())
      : layoutByMetric(this.heads, this.metric, this.order === "down", width, this._room());
    [this.shown, this.headings, this.marks] = [layout.shown, layout.headings, layout.marks];
    this.bottom = layout.content;
  }

  _arrange() {
    this.setHovered(null); // another head is there now
    this.stage.hideTip();
    this.stage.resize();
    this._status();
    this.stage.fillTable();
  }

  /** Px for thumbnails: the page's height without toolbar and status. */
  _room() {
    const { available, frame, scroll } = this.stage;
    return available - (frame.offsetHeight - scroll.offsetHeight);
  }

  naturalHeight() {
    this.layout();
    return this.bottom;
  }

  contentHeight() {
    return this.bottom;
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  itemAt(x, y) {
    const down = y + this.stage.top;
    return this.shown.find((h) => x >= h.x - 1 && x < h.x + h.w + 2 && down >= h.y - 1 && down < h.y + h.h + 2) ?? null;
  }

  isClickable() {
    return true;
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    const head = this.itemAt(x, y);
    if (head) this.choose(head);
  }

  /** @param {Head} head */
  choose(head) {
    this.selected = [head.layer, head.head];
    this.stage.repaint();
    this.stage.say(`Selected: ${nameOf(head)}`);
    this.send("selected", this.selected);
  }

  get _current() {
    return this.hovered ?? this.shown.find((h) => this._isSelected(h)) ?? null;
  }

  _chooseCurrent() {
    if (this._current) this.choose(this._current);
  }

  /** @param {number} dx @param {number} dy */
  _step(dx, dy) {
    const now = this._current;
    const next = now ? this._nearest(now, dx, dy) : this.shown[0];
    if (!next) return;
    const extent = { top: next.y, bottom: next.y + next.h, scrollTo: next.y - this.stage.height / 2 };
    this.hoverByKey(next, extent, () => [next.x + next.w, next.y + next.h - this.stage.top]);
  }

  /** The nearest thumbnail in a direction. @param {Head} from @param {number} dx @param {number} dy */
  _nearest(from, dx, dy) {
    let best = from;
    let least = Infinity;
    for (const head of this.shown) {
      const [x, y] = [head.x - from.x, head.y - from.y];
      const ahead = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (ahead > 0 && ahead + 3 * aside < least) [best, least] = [head, ahead + 3 * aside];
    }
    return best;
  }

  /** @param {Head} head */
  _isSelected(head) {
    return this.selected !== null && this.selected[0] === head.layer && this.selected[1] === head.head;
  }

  /** The thumbnail, enlarged. @param {Head} head */
  pictureOf(head) {
    head.image ??= this._image(head);
    const { width, height } = head.image;
    const times = PREVIEW / Math.max(width, height);
    const preview = element("canvas", { class: "preview", width: Math.round(width * times), height: Math.round(height * times) });
    const ctx = context2d(preview);
    fillMasked(ctx, this.stage.theme, 0, 0, preview.width, preview.height);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(head.image, 0, 0, preview.width, preview.height);
    return preview;
  }

  /** @param {Head} head */
  describe(head) {
    const rows = /** @type {import("./mode.js").TipRow[]} */ ([["", nameOf(head)]]);
    this.content?.metrics.forEach((metric, i) => {
      if (Number.isFinite(head.numbers[i])) rows.push([metric.title, shortNumber(head.numbers[i])]);
    });
    rows.push(...this.colors.describe(this._cellsOf(head)));
    return rows;
  }

  table() {
    const text = (/** @type {number} */ value) => (Number.isFinite(value) ? shortNumber(value) : "–");
    return {
      caption: "Heads and their metrics",
      columns: ["head", ...(this.content?.metrics ?? []).map((m) => m.title)],
      rows: this.shown.map((h) => [nameOf(h), ...[...h.numbers].map(text)]),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  themed() {
    for (const head of this.heads) head.image = null;
    if (!this.content) return;
    this.colors.use(this.content.layers, this.heads.filter((head) => !head.pending).map((head) => this._cellsOf(head)), this.stage.theme);
    this.colors.explain(this.legend);
    this.stage.repaint();
  }

  /** Of a head's thumbnail, the upper byte of each cell's code. @param {Head} head */
  _cellsOf({ at, block: { rows = 0, cols = 0 } }) {
    return (this.content?.cells ?? new Uint8Array(0)).subarray(at, at + rows * cols);
  }

  /** @param {Head} head */
  _image(head) {
    const { rows = 0, cols = 0 } = head.block;
    return imageOf(Uint32Array.from(this._cellsOf(head), (byte) => this.colors.table[byte]), cols, rows);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    const { theme, top, height } = this.stage;
    ctx.translate(0, -top);
    this._drawTexts(ctx);
    const seen = this.shown.filter((head) => head.y + head.h >= top && head.y <= top + height);
    ctx.strokeStyle = theme.hatch; // of all at once: under the pictures, so that it shows where they are masked
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (const head of seen) if (!head.faded && !head.pending) hatchPath(ctx, head.x, head.y, head.w, head.h);
    ctx.stroke();
    ctx.strokeStyle = theme.border;
    for (const head of seen) {
      ctx.globalAlpha = head.faded ? 0.12 : 1;
      if (!head.pending) {
        head.image ??= this._image(head);
        ctx.imageSmoothingEnabled = head.w < (head.block.cols ?? 0);
        ctx.drawImage(head.image, head.x, head.y, head.w, head.h);
      }
      ctx.strokeRect(head.x - 0.5, head.y - 0.5, head.w + 1, head.h + 1);
    }
    ctx.globalAlpha = 1;
    const selected = this.shown.find((head) => this._isSelected(head));
    if (selected) outline(ctx, selected, theme.selected, 2.5);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  _drawTexts(ctx) {
    const { theme, top, height } = this.stage;
    ctx.fillStyle = theme.faint;
    ctx.font = this.stage.font(12, "600");
    ctx.textAlign = "left";
    const whole = this.headings.every(({ text, room = Infinity }) => ctx.measureText(text).width <= room);
    for (const { text, short = text, room = Infinity, x, y } of this.headings) {
      ctx.fillText(whole ? text : fitted(ctx, short, room), x, y);
    }
    for (const mark of this.marks) {
      if (mark.y < top - 20 || mark.y > top + height + 20) continue;
      ctx.font = this.stage.font(11, mark.strong ? "600" : "400");
      ctx.fillStyle = mark.strong ? theme.text : theme.faint;
      ctx.textAlign = mark.align ?? "left";
      ctx.fillText(mark.room ? fitted(ctx, mark.text, mark.room + 8) : mark.text, mark.x, mark.y);
    }
  }

  /** @returns {[number, number]} */
  figureSize() {
    const ctx = context2d(this.stage.picture);
    ctx.font = this.stage.font(12, "600");
    const texts = [...this.headings, ...this.marks].filter(({ align = "left" }) => align === "left");
    const ends = texts.map(({ x, text, room = Infinity }) => x + Math.min(room, ctx.measureText(text).width));
    return [Math.min(this.stage.width, 4 + Math.max(0, ...ends, ...this.shown.map((head) => head.x + head.w))), this.contentHeight()];
  }

  /** @returns {import("./figure.js").FigureTexts} */
  figure() {
    const metric = this.content?.metrics[this.metric]?.title ?? "";
    const order = this.order === "layers" ? "" : `Heads by ${metric}, ${this.order === "down" ? "highest" : "lowest"} first.`;
    const faded = this.heads.some((head) => head.faded) ? `Faded: ${metric} below ${this._leastText()}.` : "";
    return {
      title: this.stage.title, note: [order, faded].filter(Boolean).join(" "),
      legends: this.legend.inFigure(`weight, ${this.colors.kind} scale`),
    };
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    if (!this.hovered) return;
    ctx.translate(0, -this.stage.top);
    outline(ctx, this.hovered, this.stage.theme.primary, 2);
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {Head} head @param {string} color @param {number} width */
function outline(ctx, head, color, width) {
  ctx.strokeStyle = color;
  ctx.lineWidth = width;
  ctx.strokeRect(head.x - 2, head.y - 2, head.w + 4, head.h + 4);
}

/** @param {Head} head */
function nameOf(head) {
  return `${head.block.title}, head ${head.head}`;
}
