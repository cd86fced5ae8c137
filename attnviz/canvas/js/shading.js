// What color a cell of a map has: its scale, and whether rows or columns are made comparable.

import { MASKED, shortNumber } from "./codecs.js";
import { colorTable, rampPosition, ranksOf, magnitudeRanksOf } from "./scales.js";
import { cssColor } from "./theme.js";

const LEAST_SHOWN = 1e-4; // of the largest weight, at the low end of a logarithmic scale
const FEW = 0.01; // of the weights may lie below its low end, where they are larger than that

/**
 * @typedef {object} MapBase what is known of a whole map
 * @property {import("./pyramid.js").Pyramid} picture
 * @property {Float32Array} rowMax
 * @property {Float32Array} colMax
 * @property {string[]} rowNames
 * @property {string[]} colNames
 * @property {boolean} twoSided zero is the middle of its colors
 * @property {Float32Array | null} ranks
 * @property {number} largest
 */

export class Shading {
  constructor() {
    /** @type {"linear" | "log" | "percentile"} */
    this.kind = "linear";
    /** @type {"none" | "row" | "col"} */
    this.norm = "none";
    /** @type {MapBase} */
    this.base = /** @type {any} */ (null);
    /** @type {import("./theme.js").Theme} */
    this.theme = /** @type {any} */ (null);
    this.tables = new Map();
  }

  /** @param {MapBase} base @param {import("./theme.js").Theme} theme */
  use(base, theme) {
    this.base = base;
    this.theme = theme;
    this.tables.clear();
  }

  get colors() {
    return this.base.twoSided ? this.theme.diverging : this.theme.sequential;
  }

  /** @returns {import("./scales.js").Scale} */
  get scale() {
    const { twoSided, largest } = this.base;
    const high = this.norm === "none" || twoSided ? largest : 1;
    const ranks = this.kind === "percentile" ? this._ranks : null;
    return { kind: this.kind, low: this.kind === "log" ? this._lowEnd(high) : 0, high, ranks, twoSided };
  }

  get _ranks() {
    const { codes, codec } = this.base.picture.sheet;
    return (this.base.ranks ??= this.base.twoSided ? magnitudeRanksOf(codes, codec) : ranksOf(codes));
  }

  /** An even map would be of one color if its scale began far below it. @param {number} high */
  _lowEnd(high) {
    if (this.norm !== "none") return high * LEAST_SHOWN;
    if (this.base.twoSided) return high * 0.01;
    const code = this._ranks.findIndex((rank) => rank >= FEW);
    return Math.max(high * LEAST_SHOWN, Math.min(this.base.picture.sheet.codec.values[code], high / 2));
  }

  /** Whether a cell's color depends on more than its own number. */
  get _shares() {
    return this.norm !== "none" && this.kind !== "percentile" && !this.base.twoSided;
  }

  /** @param {import("./pyramid.js").Tile} sheet */
  _table(sheet) {
    if (!this.tables.has(sheet)) this.tables.set(sheet, colorTable(sheet.codec, this.scale, this.colors));
    return this.tables.get(sheet);
  }

  /** Pixels of a sheet, or of one of its smaller levels. */
  paint(codes, level, sheet) {
    const out = new Uint32Array(codes.length);
    const empty = sheet.side > 1 && !this.base.twoSided; // a square of zeros is masked as far as one sees
    if (!this._shares) {
      const table = this._table(sheet);
      for (let i = 0; i < codes.length; i++) if (codes[i] || !empty) out[i] = table[codes[i]];
      return out;
    }
    const byRow = this.norm === "row";
    const tops = this._tops(byRow, sheet, level);
    const { values } = sheet.codec;
    const { scale, colors } = this;
    for (let i = 0; i < level.height; i++) {
      for (let j = 0; j < level.width; j++) {
        const code = codes[i * level.width + j];
        if (code === MASKED || (code === 0 && empty)) continue;
        const share = Math.min(1, values[code] / (tops[byRow ? i : j] || 1));
        out[i * level.width + j] = colors[Math.round(rampPosition(scale, share, code) * 255)];
      }
    }
    return out;
  }

  /** The packed color of one cell. @param {import("./pyramid.js").Tile} sheet @param {[number, number]} at @param {number} code */
  colorOf(sheet, [row, col], code) {
    if (!this._shares) return this._table(sheet)[code];
    const top = this.norm === "row" ? this.base.rowMax[row] : this.base.colMax[col];
    const share = Math.min(1, sheet.codec.values[code] / (top || 1));
    return this.colors[Math.round(rampPosition(this.scale, share, code) * 255)];
  }

  /** The largest weight of the rows (or columns) that each line of a level stands for. */
  _tops(byRow, sheet, level) {
    const max = byRow ? this.base.rowMax : this.base.colMax;
    const [start, stop] = byRow ? sheet.rows : sheet.cols;
    const side = sheet.side * level.factor;
    const out = new Float32Array(byRow ? level.height : level.width);
    for (let i = start; i < stop; i++) {
      const at = Math.floor((i - start) / side);
      if (max[i] > out[at]) out[at] = max[i];
    }
    return out;
  }

  /** Fill a legend: a text, a small canvas, a text. @param {Element} legend */
  explain(legend) {
    const [low, bar, high] = /** @type {any} */ (legend.children);
    const ctx = bar.getContext("2d");
    for (let i = 0; i < bar.width; i++) {
      ctx.fillStyle = cssColor(this.colors[Math.round((i / (bar.width - 1)) * 255)]);
      ctx.fillRect(i, 0, 1, bar.height);
    }
    const { scale } = this;
    let ends = [shortNumber(scale.twoSided ? -scale.high : scale.low), shortNumber(scale.high)];
    if (scale.kind === "percentile") ends = this._percentEnds(scale);
    else if (this._shares) ends[1] = this.norm === "row" ? "row max" : "column max";
    [low.textContent, high.textContent] = ends;
  }

  /** Percentiles with the numbers that they are. @param {import("./scales.js").Scale} scale */
  _percentEnds({ twoSided, high }) {
    if (twoSided) return [`−100% · ${shortNumber(-high)}`, `${shortNumber(high)} · 100%`];
    const [least] = rangeOfTile(this.base.picture.sheet);
    return [`0% · ${shortNumber(least)}`, `${shortNumber(high)} · 100%`];
  }
}

/** The largest size among finite numbers, or 1. @param {Float32Array} numbers */
export function largestSize(numbers) {
  let most = 0;
  for (let i = 0; i < numbers.length; i++) {
    const size = Math.abs(numbers[i]);
    if (Number.isFinite(size) && size > most) most = size;
  }
  return most || 1;
}

/** The largest size among a sheet's numbers, or 1. @param {import("./pyramid.js").Tile} sheet */
export function largestInTile(sheet) {
  return Math.max(...rangeOfTile(sheet).map(Math.abs)) || 1;
}

/** The least and the largest of a sheet's numbers. @param {import("./pyramid.js").Tile} sheet */
function rangeOfTile({ codes, codec }) {
  let [low, high] = [MASKED, -1];
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === MASKED) continue;
    if (code < low) low = code;
    if (code > high) high = code;
  }
  return high < 0 ? [0, 0] : [codec.values[low], codec.values[high]];
}
