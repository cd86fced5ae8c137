// Curves over training steps, with the step on screen marked; a click chooses a step.

import { shortNumber } from "./codecs.js";
import { context2d, element } from "./dom.js";
import { arrowKeys, Mode } from "./mode.js";
import { ticksOf } from "./ticks.js";

/** @typedef {import("./payload.js").CurvesHeader} CurvesHeader */
/** @typedef {import("./payload.js").Series} Series */

const CURVE_LETTERS = 11; // px
const AROUND_CURVES = { left: 46, top: 12, bottom: 32, right: 12 };
const ENDS_APART = 13; // px between the names at the lines' ends
const CURVES_TALL = 90; // px

/** @extends {Mode<number>} an item is an index into the steps */
export class CurvesMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    /** @type {CurvesHeader | null} */
    this.header = null;
    /** @type {Float32Array} */
    this.x = new Float32Array(0);
    /** @type {Float32Array} */
    this.y = new Float32Array(0); // one series after the other
    this.plot = { left: 0, top: 0, right: 0, bottom: 0 }; // px
    this.last = 1; // step at the right edge
    /** @type {[number, number]} */
    this.range = [0, 1];
    this.name = element("span", { class: "name" });
    this.setTools([this.name]);
    this.keyActions = {
      ...arrowKeys((dx) => this._step(dx)),
      Enter: () => { if (this.hovered !== null) this._choose(this.hovered); },
    };
  }

  /** @param {import("./payload.js").CurvesPayload} payload */
  receive({ header, arrays: { x, y } }) {
    [this.header, this.x, this.y] = [header, x, y];
    this.name.textContent = header.title;
    this.label = `${header.title} over ${header.last} steps. Left and right read the values, Enter shows that step.`;
    this.last = Math.max(1, header.last);
    this.range = header.domain ?? rangeOfCurves(y);
    if (this.hovered !== null && this.hovered >= x.length) this.setHovered(null);
    this.stage.repaint();
  }

  /** Mark another step. @param {number | null} step */
  mark(step) {
    if (this.header) this.header.at = step;
    this.stage.repaintOver();
  }

  /** @param {number} series @param {number} i */
  _value(series, i) {
    return this.y[series * this.x.length + i];
  }

  // ---- layout --------------------------------------------------------------------------------

  naturalHeight() {
    return Math.max(CURVES_TALL, this.stage.most);
  }

  layout() {
    const { width, height } = this.stage;
    const ctx = context2d(this.stage.picture);
    ctx.font = this.stage.font(CURVE_LETTERS);
    const names = (this.header?.series ?? []).filter(({ named }) => named).map(({ name }) => ctx.measureText(name).width);
    const right = Math.max(AROUND_CURVES.right, ...names.map((w) => Math.min(w, 90) + 12));
    this.plot = { left: AROUND_CURVES.left, top: AROUND_CURVES.top, right: Math.max(AROUND_CURVES.left + 10, width - right), bottom: height - AROUND_CURVES.bottom };
  }

  /** @param {number} step */
  _left(step) {
    const { left, right } = this.plot;
    return left + (step / this.last) * (right - left);
  }

  /** @param {number} value */
  _down(value) {
    const [low, high] = this.range;
    const { top, bottom } = this.plot;
    return bottom - ((value - low) / (high - low)) * (bottom - top);
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  itemAt(x, y) {
    const { left, right, top, bottom } = this.plot;
    if (!this.x.length || x < left - 8 || x > right + 8 || y < top - 8 || y > bottom + 8) return null;
    const step = ((x - left) / (right - left)) * this.last;
    let best = 0;
    for (let i = 1; i < this.x.length; i++) if (Math.abs(this.x[i] - step) < Math.abs(this.x[best] - step)) best = i;
    return best;
  }

  isClickable() {
    return true;
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    const at = this.itemAt(x, y);
    if (at !== null) this._choose(at);
  }

  /** @param {number} i */
  _choose(i) {
    this.send("step", this.x[i]);
  }

  /** @param {number} dx */
  _step(dx) {
    if (!dx || !this.x.length) return;
    const from = this.hovered ?? this._nearestTo(this.header?.at ?? 0) - dx;
    const next = Math.max(0, Math.min(this.x.length - 1, from + dx));
    this.hoverByKey(next, { top: 0, bottom: 0, scrollTo: 0 }, () => [this._left(this.x[next]), this.plot.top]);
  }

  /** @param {number} step */
  _nearestTo(step) {
    return this.itemAt(this._left(step), this.plot.top) ?? 0;
  }

  /** @param {number} i @returns {import("./mode.js").TipRow[]} */
  describe(i) {
    const rows = /** @type {import("./mode.js").TipRow[]} */ ([["step", this.x[i].toLocaleString("en")]]);
    this.header?.series.forEach(({ name, named }, s) => {
      const value = this._value(s, i);
      if (named && Number.isFinite(value)) rows.push([name, shortNumber(value)]);
    });
    return rows;
  }

  table() {
    const series = this.header?.series ?? [];
    return {
      caption: this.header?.title ?? "",
      columns: ["step", ...series.map(({ name }) => name)],
      rows: Array.from(this.x, (step, i) => [String(step), ...series.map((_, s) => {
        const value = this._value(s, i);
        return Number.isFinite(value) ? shortNumber(value) : "–";
      })]),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** @param {Series} series */
  _color({ color }) {
    const { theme } = this.stage;
    return color === "selected" ? theme.selected : color === null ? theme.faint : theme.categorical[color % theme.categorical.length];
  }

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    const { header } = this;
    if (!header) return;
    this._drawAxes(ctx, header);
    const order = header.series.map((_, s) => s).sort((a, b) => depthOf(header.series[a]) - depthOf(header.series[b]));
    for (const s of order) this._drawLine(ctx, header.series[s], s);
    this._drawNames(ctx, header);
  }

  /** @param {CanvasRenderingContext2D} ctx @param {CurvesHeader} header */
  _drawAxes(ctx, header) {
    const { theme } = this.stage;
    const { left, right, top, bottom } = this.plot;
    ctx.font = this.stage.font(CURVE_LETTERS);
    ctx.lineWidth = 1;
    for (const value of ticksOf(this.range, Math.max(3, Math.floor((bottom - top) / 34)))) {
      const y = Math.round(this._down(value)) + 0.5;
      ctx.strokeStyle = theme.border;
      ctx.beginPath();
      ctx.moveTo(left, y);
      ctx.lineTo(right, y);
      ctx.stroke();
      ctx.fillStyle = theme.faint;
      ctx.textAlign = "right";
      ctx.fillText(shortNumber(value), left - 6, y);
    }
    ctx.textAlign = "center";
    for (const step of ticksOf([0, this.last], Math.max(3, Math.floor((right - left) / 70)))) {
      ctx.fillText(step.toLocaleString("en"), this._left(step), bottom + 12);
    }
    ctx.textAlign = "left";
    ctx.fillText("step →", left, bottom + 25);
    if (!header.base) return;
    const y = this._down(header.base.value);
    ctx.strokeStyle = theme.faint;
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(right, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.textAlign = "right";
    ctx.fillText(header.base.name, right - 10, y - 8);
  }

  /** @param {CanvasRenderingContext2D} ctx @param {Series} series @param {number} s */
  _drawLine(ctx, series, s) {
    ctx.strokeStyle = ctx.fillStyle = this._color(series);
    ctx.lineWidth = series.color === "selected" ? 2.5 : series.color === null ? 1 : 1.75;
    ctx.globalAlpha = series.color === null ? 0.5 : 1;
    ctx.lineJoin = "round";
    ctx.beginPath();
    let started = false;
    for (let i = 0; i < this.x.length; i++) {
      const value = this._value(s, i);
      if (!Number.isFinite(value)) continue; // from evaluation to evaluation
      const [x, y] = [this._left(this.x[i]), this._down(value)];
      if (started) ctx.lineTo(x, y);
      else ctx.moveTo(x, y);
      started = true;
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
    if (series.at !== undefined && series.named) this._drawMark(ctx, s, series.at);
  }

  /** A ring on a line, where the text above tells of it. @param {CanvasRenderingContext2D} ctx @param {number} s @param {number} step */
  _drawMark(ctx, s, step) {
    const value = this._value(s, this._nearestTo(step));
    ctx.beginPath();
    ctx.arc(this._left(step), this._down(value), 4, 0, 2 * Math.PI);
    ctx.fillStyle = this.stage.theme.background;
    ctx.fill();
    ctx.stroke();
  }

  /** The lines' names at their ends, pushed apart. @param {CanvasRenderingContext2D} ctx @param {CurvesHeader} header */
  _drawNames(ctx, header) {
    const ends = header.series.flatMap((series, s) => {
      const y = this._lastOf(s);
      return series.named && y !== null ? [{ series, y: this._down(y) }] : [];
    }).sort((a, b) => a.y - b.y);
    ends.forEach((end, i) => { if (i) end.y = Math.max(end.y, ends[i - 1].y + ENDS_APART); });
    const over = (ends.at(-1)?.y ?? 0) - this.plot.bottom;
    ctx.textAlign = "left";
    for (const { series, y } of ends) {
      ctx.font = this.stage.font(CURVE_LETTERS, series.color === "selected" ? "600" : "400");
      ctx.fillStyle = this._color(series);
      ctx.fillText(series.name, this.plot.right + 6, over > 0 ? y - over : y);
    }
  }

  /** The last number of a series. @param {number} s */
  _lastOf(s) {
    for (let i = this.x.length - 1; i >= 0; i--) if (Number.isFinite(this._value(s, i))) return this._value(s, i);
    return null;
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    const { theme } = this.stage;
    const { at = null } = this.header ?? {};
    if (at !== null) this._drawStep(ctx, at, theme.text, 1.5);
    if (this.hovered !== null) this._drawStep(ctx, this.x[this.hovered], theme.primary, 1);
  }

  /** @param {CanvasRenderingContext2D} ctx @param {number} step @param {string} color @param {number} width */
  _drawStep(ctx, step, color, width) {
    const x = this._left(step);
    const { top, bottom } = this.plot;
    ctx.strokeStyle = ctx.fillStyle = color;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, bottom);
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x - 5, top - 8);
    ctx.lineTo(x + 5, top - 8);
    ctx.lineTo(x, top);
    ctx.fill();
  }

  /** @returns {import("./figure.js").FigureTexts} */
  figure() {
    const series = (this.header?.series ?? []).filter(({ named }) => named);
    const items = series.map((one) => ({ color: this._color(one), text: one.name }));
    return { title: this.stage.title, legends: [{ kind: "colors", title: "", items }], note: this.header?.note ?? "" };
  }
}

/** What is drawn later lies in front. @param {Series} series */
function depthOf({ color }) {
  return color === "selected" ? 2 : color === null ? 0 : 1;
}

/** The least and the largest finite number, from 0 on. @param {Float32Array} values @returns {[number, number]} */
function rangeOfCurves(values) {
  let high = 0;
  for (const value of values) if (Number.isFinite(value) && value > high) high = value;
  return [0, high || 1];
}
