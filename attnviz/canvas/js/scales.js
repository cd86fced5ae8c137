// From numbers to positions on a color ramp.

import { MASKED } from "./codecs.js";

/** @typedef {"linear" | "log" | "percentile"} ScaleKind */

/**
 * @typedef {object} Scale from a cell's number to a position on the ramp
 * @property {ScaleKind} kind
 * @property {number} low
 * @property {number} high
 * @property {Float32Array | null} ranks of each code, for percentiles
 * @property {boolean} [twoSided] the scale is of absolute values and starts in the middle of the ramp
 */

/** @param {Scale} scale @param {number} value @param {number} code @returns {number} 0 to 1 */
export function rampPosition(scale, value, code) {
  if (!scale.twoSided) return magnitudePosition(scale, value, code);
  return 0.5 + (Math.sign(value) * magnitudePosition(scale, Math.abs(value), code)) / 2;
}

/** @param {Scale} scale @param {number} value @param {number} code */
function magnitudePosition(scale, value, code) {
  if (scale.kind === "percentile" && scale.ranks) return scale.ranks[code];
  if (scale.kind === "log") {
    if (value <= scale.low) return 0;
    return Math.min(1, Math.log(value / scale.low) / Math.log(scale.high / scale.low));
  }
  return Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low || 1)));
}

/**
 * The color of each code; 0, transparent, for masked.
 * @param {import("./codecs.js").Codec} codec
 * @param {Scale} scale
 * @param {Uint32Array} ramp
 */
export function colorTable(codec, scale, ramp) {
  const table = new Uint32Array(65536);
  for (let code = 0; code < MASKED; code++) {
    table[code] = ramp[Math.round(rampPosition(scale, codec.values[code], code) * 255)];
  }
  return table;
}

/** The share of cells below each code. @param {Uint16Array} codes @returns {Float32Array} */
export function ranksOf(codes) {
  const counts = countsOf(codes);
  counts[0] = counts[MASKED] = 0; // a causal map's empty half would push everything else to the top
  const ranks = ranksInOrder(counts, Array.from({ length: MASKED }, (_, code) => code));
  ranks[0] = 0;
  return ranks;
}

/** The share of cells closer to zero than each code. @param {Uint16Array} codes @param {import("./codecs.js").Codec} codec */
export function magnitudeRanksOf(codes, codec) {
  const counts = countsOf(codes);
  counts[MASKED] = 0;
  const order = Array.from({ length: MASKED }, (_, code) => code)
    .sort((a, b) => Math.abs(codec.values[a]) - Math.abs(codec.values[b]));
  return ranksInOrder(counts, order);
}

/** @param {Uint16Array} codes */
function countsOf(codes) {
  const counts = new Uint32Array(65536);
  for (let i = 0; i < codes.length; i++) counts[codes[i]]++;
  return counts;
}

/** @param {Uint32Array} counts of each code @param {number[]} order codes from low to high */
function ranksInOrder(counts, order) {
  const total = counts.reduce((a, b) => a + b, 0) || 1;
  const ranks = new Float32Array(65536);
  let below = 0;
  for (const code of order) {
    ranks[code] = (below + counts[code] / 2) / total;
    below += counts[code];
  }
  return ranks;
}
