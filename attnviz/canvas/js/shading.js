// The colors of a map's cells: its scale, and whether rows or columns are normalized.

import { MASKED, shortNumber } from "./codecs.js";
import { clippedBy, clippedRows, colorTable, countsOf, endsOf, magnitudeRanksOf, ranksOf, rampPosition } from "./scales.js";

const LEAST_SHOWN = 1e-4; // of the largest weight, at the low end of a logarithmic scale
const FEW = 0.01; // of the weights may lie below the low end, if they are larger than that

/** @typedef {import("./mapbases.js").MapBase} MapBase */

export class Shading {
  constructor() {
    /** @type {import("./scales.js").ScaleKind} */
    this.kind = "linear";
    /** @type {"none" | "row" | "col"} */
    this.norm = "none";
    /** @type {MapBase} */
    this.base = /** @type {any} */ (null);
    /** @type {import("./theme.js").Theme} */
    this.theme = /** @type {any} */ (null);
    /** @type {Map<import("./pyramid.js").Tile, Uint32Array>} */
    this.tables = new Map(); // colors of each code
  }

  /** @param {MapBase} base @param {import("./theme.js").Theme} theme */
  use(base, theme) {
    this.base = base;
    this.theme = theme;
    this.tables.clear();
  }

  get ramp() {
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
    const { codes, codec } = this.base.pyramid.tile;
    return (this.base.ranks ??= this.base.twoSided ? magnitudeRanksOf(codes, codec) : ranksOf(codes));
  }

  /** An even map would be of one color if its scale began far below it. @param {number} high */
  _lowEnd(high) {
    if (this.norm !== "none") return high * LEAST_SHOWN;
    if (this.base.twoSided) return high * 0.01;
    const code = this._ranks.findIndex((rank) => rank >= FEW);
    return Math.max(high * LEAST_SHOWN, Math.min(this.base.pyramid.tile.codec.values[code], high / 2));
  }

  /** Whether a cell's color depends on its row or column. */
  get _normalized() {
    return this.norm !== "none" && this.kind !== "percentile" && !this.base.twoSided;
  }

  /** @param {import("./pyramid.js").Tile} tile */
  _table(tile) {
    const table = this.tables.get(tile) ?? colorTable(tile.codec, this.scale, this.ramp);
    this.tables.set(tile, table);
    return table;
  }

  /** Pixels of one level of a tile. @param {import("./pyramid.js").Level} level @param {import("./pyramid.js").Tile} tile */
  paint(level, tile) {
    const { codes } = level;
    const out = new Uint32Array(codes.length);
    if (!this._normalized) {
      const table = this._table(tile);
      for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]];
      return out;
    }
    const byRow = this.norm === "row";
    const tops = this._tops(byRow, tile, level);
    const { values } = tile.codec;
    const { scale, ramp } = this;
    for (let i = 0; i < level.height; i++) {
      for (let j = 0; j < level.width; j++) {
        const code = codes[i * level.width + j];
        if (code === MASKED) continue;
        const share = Math.min(1, values[code] / (tops[byRow ? i : j] || 1));
        out[i * level.width + j] = ramp[Math.round(rampPosition(scale, share, code) * 255)];
      }
    }
    return out;
  }

  /** The packed color of one cell. @param {import("./pyramid.js").Tile} tile @param {[number, number]} at @param {number} code */
  colorOf(tile, [row, col], code) {
    if (!this._normalized) return this._table(tile)[code];
    const top = this.norm === "row" ? this.base.rowMax[row] : this.base.colMax[col];
    const share = Math.min(1, tile.codec.values[code] / (top || 1));
    return this.ramp[Math.round(rampPosition(this.scale, share, code) * 255)];
  }

  /** The largest weight of the rows or columns under each line of a level. @param {boolean} byRow @param {import("./pyramid.js").Tile} tile @param {import("./pyramid.js").Level} level */
  _tops(byRow, tile, level) {
    const max = byRow ? this.base.rowMax : this.base.colMax;
    const [start, stop] = byRow ? tile.rows : tile.cols;
    const side = tile.side * level.factor;
    const out = new Float32Array(byRow ? level.height : level.width);
    for (let i = start; i < stop; i++) {
      const at = Math.floor((i - start) / side);
      if (max[i] > out[at]) out[at] = max[i];
    }
    return out;
  }

  /** The number that a cell's place on the ramp is from. @param {import("./pyramid.js").Tile} tile @param {[number, number]} at @param {number} code */
  _shownNumber(tile, [row, col], code) {
    const value = tile.codec.values[code];
    if (!this._normalized) return value;
    return value / ((this.norm === "row" ? this.base.rowMax[row] : this.base.colMax[col]) || 1);
  }

  /** What a tooltip says of a cell's color. @param {import("./pyramid.js").Tile} tile @param {[number, number]} at @param {number} code */
  describe(tile, at, code) {
    return code === MASKED ? [] : clippedRows(this.scale, this._shownNumber(tile, at, code));
  }

  /** How many cells of the whole map the scale clips. */
  get clipped() {
    const { pyramid } = this.base;
    const { tile } = pyramid;
    if (!this._normalized) return clippedBy(this.scale, (this.base.counts ??= countsOf(tile.codes)), tile.codec.values);
    if (this.kind === "linear") return { below: 0, above: 0, total: 1 }; // shares reach from 0 to 1
    const byRow = this.norm === "row";
    const level = pyramid.levels[0];
    const tops = this._tops(byRow, tile, level);
    const { low } = this.scale;
    let [below, total] = [0, 0];
    for (let i = 0; i < level.height; i++) {
      for (let j = 0; j < level.width; j++) {
        const code = level.codes[i * level.width + j];
        if (code === MASKED) continue;
        total++;
        if (tile.codec.values[code] < low * (tops[byRow ? i : j] || 1)) below++;
      }
    }
    return { below, above: 0, total };
  }

  /** @param {import("./legend.js").Legend} legend */
  explain(legend) {
    const { scale } = this;
    let ends = endsOf(scale, this.clipped);
    if (scale.kind === "percentile") ends = { ...ends, ...this._percentEnds(scale) };
    else if (this._normalized) ends.high = this.norm === "row" ? "row max" : "column max";
    legend.show(this.theme, { ...ends, ramp: this.ramp, masked: this.base.pyramid.masked });
  }

  /** Percentiles and their numbers. @param {import("./scales.js").Scale} scale */
  _percentEnds({ twoSided, high }) {
    if (twoSided) return { low: `−100% · ${shortNumber(-high)}`, high: `${shortNumber(high)} · 100%` };
    const [least] = rangeOfTile(this.base.pyramid.tile);
    return { low: `0% · ${shortNumber(least)}`, high: `${shortNumber(high)} · 100%` };
  }
}

/** The least and the largest number of a tile. @param {import("./pyramid.js").Tile} tile */
export function rangeOfTile({ codes, codec }) {
  let [low, high] = [MASKED, -1];
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code === MASKED) continue;
    if (code < low) low = code;
    if (code > high) high = code;
  }
  return high < 0 ? [0, 0] : [codec.values[low], codec.values[high]];
}
