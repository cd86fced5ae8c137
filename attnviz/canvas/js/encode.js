// From numbers to the 16 bits of a cell, as ../codecs.py does it.

import { DECADES, FIRST, MASKED, PER_DECADE, TINY } from "./codecs.js";

const LARGEST_CODE = MASKED - 1;
const FINEST = 6; // decimals of scores
const COARSEST = -30;
const TENS = Float64Array.from({ length: DECADES + 5 }, (_, i) => 10 ** i);

/** The code of a weight >= 0, to four significant digits. @param {number} value */
export function significantCodeOf(value) {
  if (!(value > 0)) return 0;
  if (value < 0.99995e-7) return TINY;
  let exponent = 0; // no logarithm: a map has a million cells
  while (exponent > -DECADES - 1 && value * TENS[-exponent] < 1) exponent--;
  let digits = Math.round(value * TENS[3 - exponent]);
  if (digits >= 10_000 && exponent < 0) digits = Math.round(value * TENS[3 - ++exponent]);
  return Math.max(FIRST, Math.min(LARGEST_CODE, FIRST + (exponent + DECADES) * PER_DECADE + digits - 1000));
}

/** @typedef {{kind: "fixed", decimals: number, low: number}} FixedHeader what a reader of the codes needs to know */

/** The finest steps that reach from the smallest to the largest number. @param {number} lowest @param {number} highest @returns {FixedHeader} */
export function fixedOver(lowest, highest) {
  let decimals = FINEST;
  while (decimals > COARSEST && (highest - lowest) * 10 ** decimals > LARGEST_CODE - 2) decimals--;
  return { kind: "fixed", decimals, low: Math.floor(lowest * 10 ** decimals) };
}

/** @param {ArrayLike<number>} values not finite where masked @returns {FixedHeader} */
export function fixedHeaderOf(values) {
  let [lowest, highest] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    if (values[i] < lowest) lowest = values[i];
    if (values[i] > highest) highest = values[i];
  }
  return lowest <= highest ? fixedOver(lowest, highest) : fixedOver(0, 0);
}

/** @param {number} value @param {FixedHeader} header */
export function fixedCodeOf(value, { decimals, low }) {
  if (!Number.isFinite(value)) return MASKED;
  return Math.max(0, Math.min(LARGEST_CODE, Math.round(value * 10 ** decimals) - low));
}
