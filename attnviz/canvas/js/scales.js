// From numbers to positions on a color ramp.

import { MASKED, shortNumber } from "./codecs.js";

const ROUNDING = 1e-3; // of a number: codes have four digits
const FEW_CELLS = 100; // of so many at most, clipped ones are counted; of more, their share is given

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
 * Whether a number has the color of the scale's end although it lies beyond it: 1 above, -1 below, 0 if
 * it has a color of its own. On a two-sided scale the low end is the middle.
 * @param {Scale} scale @param {number} value
 */
export function beyond(scale, value) {
  const size = scale.twoSided ? Math.abs(value) : value;
  if (scale.kind === "percentile") return 0;
  if (size > scale.high + Math.abs(scale.high) * ROUNDING) return 1;
  return size < scale.low - Math.abs(scale.low) * ROUNDING ? -1 : 0;
}

/**
 * @typedef {object} Clipped cells of which a scale shows only that they lie beyond it
 * @property {number} below @property {number} above
 * @property {number} total of all cells that are not masked
 */

/**
 * How many cells a scale clips.
 * @param {Scale} scale @param {ArrayLike<number>} counts of each code @param {ArrayLike<number>} values of each code
 * @returns {Clipped}
 */
export function clippedBy(scale, counts, values) {
  let [below, above, total] = [0, 0, 0];
  for (let code = 0; code < counts.length; code++) {
    const n = counts[code];
    if (!n || Number.isNaN(values[code])) continue;
    total += n;
    const side = beyond(scale, values[code]);
    if (side > 0) above += n;
    else if (side < 0) below += n;
  }
  return { below, above, total };
}

/** So many of all, in few letters. @param {number} count @param {number} total */
export function shareText(count, total) {
  if (total <= FEW_CELLS) return `${count} of ${total}`;
  const percent = (100 * count) / total;
  return percent < 1 ? "under 1%" : `${Math.round(percent)}%`;
}

/**
 * The texts at the ends of a legend, and which ends are clipped.
 * @param {Scale} scale @param {Clipped} clipped @param {string} [unit]
 * @returns {import("./legend.js").Ends}
 */
export function endsOf(scale, { below, above, total }, unit = "") {
  const [low, high] = [shortNumber(scale.low), shortNumber(scale.high)];
  const tell = (/** @type {number} */ count) => ` (${shareText(count, total)})`;
  /** @type {import("./legend.js").Ends} */
  const ends = {
    low: scale.twoSided ? shortNumber(-scale.high) : low, high: `${high}${unit}`,
    lowCap: scale.twoSided ? above > 0 : below > 0, highCap: above > 0, middle: "",
  };
  if (above) [ends.low, ends.high] = [scale.twoSided ? `< ${ends.low}` : ends.low, `> ${ends.high}${tell(above)}`];
  if (below && scale.twoSided) ends.middle = `within ±${low}${tell(below)}`;
  else if (below) ends.low = `< ${low}${tell(below)}`;
  return ends;
}

/** What a tooltip says of the color of a number; nothing if the color is its own. @param {Scale} scale @param {number} value @returns {import("./mode.js").TipRow[]} */
export function clippedRows(scale, value) {
  const side = beyond(scale, value);
  if (!side) return [];
  const end = shortNumber(side > 0 ? scale.high : scale.low);
  if (scale.twoSided) return [["color", side > 0 ? `beyond the scale, which ends at ±${end}` : `as zero: within ±${end}`]];
  return [["color", side > 0 ? `above the scale, which ends at ${end}` : `below the scale, which begins at ${end}`]];
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

/** How often each code occurs. @param {Uint16Array} codes */
export function countsOf(codes) {
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
