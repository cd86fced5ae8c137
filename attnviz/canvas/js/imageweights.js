// A query's weights on the patches of an image: raw or as shares, their range, their colors.

import { MASKED, shortNumber } from "./codecs.js";
import { PALETTES } from "./palettes.js";
import { ramp } from "./theme.js";

/**
 * @typedef {"row" | "contrast" | "head" | "share"} PatchScale what colors span: 0 to the row's largest weight; the row's smallest
 *   to largest; 0 to the head's largest; 0 to the row's largest share of the weight on all patches
 * @typedef {{weights: Float64Array, onPatches: number}} PatchRow weights on all keys, NaN where masked, and their sum over the patches
 */

export const AVERAGE = -1; // in place of a query: the mean of all rows
const SMOOTH_STEPS = 8; // along a patch's side

/** Dark to light whatever the page's theme: on an image, what gets no weight lies in the shade. */
export const PATCH_RAMP = ramp(PALETTES.dark.sequential);

export class PatchWeights {
  /**
   * @param {Uint16Array} codes (rows, n_k) @param {number} nK @param {number} firstRow
   * @param {{first: number, n: number}} patches among the keys @param {import("./codecs.js").Codec} codec
   */
  constructor(codes, nK, firstRow, patches, codec) {
    this.codes = codes;
    this.nK = nK;
    this.firstRow = firstRow;
    this.nRows = nK ? codes.length / nK : 0;
    this.patches = patches;
    this.codec = codec;
    this.most = -1; // the largest weight on a patch in all rows, once it is needed
  }

  /** Whether a query's weights are here. @param {number} query */
  has(query) {
    return query === AVERAGE || (query >= this.firstRow && query < this.firstRow + this.nRows);
  }

  /** The code of a weight. @param {number} query @param {number} key */
  codeOf(query, key) {
    return this.codes[(query - this.firstRow) * this.nK + key];
  }

  /** @param {number} query @returns {PatchRow} */
  row(query) {
    const { nK, nRows, codec, codes } = this;
    const weights = new Float64Array(nK);
    if (query === AVERAGE) {
      for (let at = 0; at < codes.length; at++) weights[at % nK] += (codec.values[codes[at]] || 0) / nRows;
    } else {
      const from = (query - this.firstRow) * nK;
      for (let key = 0; key < nK; key++) weights[key] = codec.values[codes[from + key]];
    }
    return { weights, onPatches: this._sum(weights) };
  }

  /** @param {Float64Array} weights */
  _sum(weights) {
    let sum = 0;
    for (let p = 0; p < this.patches.n; p++) sum += weights[this.patches.first + p] || 0;
    return sum;
  }

  /** The numbers that color the patches. @param {PatchRow} row @param {PatchScale} scale */
  onPatches({ weights, onPatches }, scale) {
    const { first, n } = this.patches;
    const own = weights.slice(first, first + n);
    return scale === "share" ? own.map((w) => (onPatches ? w / onPatches : 0)) : own;
  }

  /** What the colors span; nothing lies outside. @param {Float64Array} numbers of the patches @param {PatchScale} scale @returns {[number, number]} */
  span(numbers, scale) {
    let [low, high] = [Infinity, 0];
    for (const value of numbers) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (scale === "head") return [0, Math.max(high, this._most())];
    return [scale === "contrast" && low < high ? low : 0, high];
  }

  _most() {
    const { codec, codes, nK, patches: { first, n } } = this;
    if (this.most < 0) {
      this.most = 0;
      for (let at = 0; at < codes.length; at++) {
        const key = at % nK;
        if (key >= first && key < first + n && codec.values[codes[at]] > this.most) this.most = codec.values[codes[at]];
      }
    }
    return this.most;
  }

  /** A weight as it is printed. @param {number} query @param {number} key @param {PatchRow} row */
  text(query, key, row) {
    return query === AVERAGE ? shortNumber(row.weights[key]) : this.codec.text(this.codeOf(query, key));
  }

  /** @param {number} query @param {number} key */
  isMasked(query, key) {
    return query !== AVERAGE && this.codeOf(query, key) === MASKED;
  }
}

/** @param {number} share */
export function patchPercent(share) {
  return `${shortNumber(100 * share)}%`;
}

/**
 * Colors of the patches, one pixel each; with smoothing several, of numbers between the patches' middles.
 * @param {Float64Array} numbers @param {[number, number]} grid rows and columns @param {[number, number]} span @param {boolean} smooth
 */
export function patchPixels(numbers, [rows, columns], [low, high], smooth) {
  const steps = smooth ? SMOOTH_STEPS : 1;
  const [h, w] = [rows * steps, columns * steps];
  const pixels = new Uint32Array(h * w);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const value = smooth
        ? between(numbers, rows, columns, (y + 0.5) / steps - 0.5, (x + 0.5) / steps - 0.5)
        : numbers[y * columns + x];
      if (Number.isNaN(value)) continue; // masked: transparent
      pixels[y * w + x] = PATCH_RAMP[Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low || 1))))];
    }
  }
  return { pixels, width: w, height: h };
}

/** Between four patches' middles. @param {Float64Array} numbers @param {number} rows @param {number} columns @param {number} y @param {number} x */
function between(numbers, rows, columns, y, x) {
  const clamp = (/** @type {number} */ i, /** @type {number} */ n) => Math.max(0, Math.min(n - 1, i));
  const [top, left] = [Math.floor(y), Math.floor(x)];
  let sum = 0;
  for (const [r, share] of [[top, 1 - (y - top)], [top + 1, y - top]]) {
    for (const [c, part] of [[left, 1 - (x - left)], [left + 1, x - left]]) {
      sum += share * part * (numbers[clamp(r, rows) * columns + clamp(c, columns)] || 0);
    }
  }
  return sum;
}
