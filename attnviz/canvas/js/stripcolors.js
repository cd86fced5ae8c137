// The color scale of the strip.

import { MASKED, shortNumber } from "./codecs.js";

const STRIP_LEAST = 1e-4; // of the largest weight, at the low end of a logarithmic scale
const STRIP_WEAK = 0.95; // of the weights lie above the low end, if they are larger than that

/** @typedef {import("./scales.js").Scale & {open: boolean}} StripScale open: the largest number lies beyond its high end */

/**
 * @param {Uint16Array} codes @param {import("./codecs.js").Codec} codec
 * @param {"linear" | "log" | "range"} kind range: from the smallest number to the largest
 * @returns {StripScale | null} null where there is no number
 */
export function stripScale(codes, codec, kind) {
  const values = [];
  for (const code of codes) if (code !== MASKED) values.push(codec.values[code]);
  if (!values.length) return null;
  values.sort((a, b) => b - a);
  const [largest, second] = values;
  const least = values[values.length - 1];
  if (kind === "range") {
    return { kind: "linear", low: least < largest ? least : 0, high: largest || 1, ranks: null, open: false };
  }
  const high = largest || 1;
  if (kind === "log") { // a text of even weights would have one color if the scale began far below them
    const weak = values[Math.floor(STRIP_WEAK * (values.length - 1))];
    return { kind, low: Math.max(high * STRIP_LEAST, Math.min(weak, high / 2)), high, ranks: null, open: false };
  }
  const end = second || high; // one token often gets nearly everything: tell the rest apart
  return { kind, low: 0, high: end, ranks: null, open: largest > end };
}

/** The texts at the ends of a legend. @param {StripScale} scale @param {string} unit @returns {[string, string]} */
export function legendTexts(scale, unit) {
  return [
    `${scale.kind === "log" ? "≤ " : ""}${shortNumber(scale.low)}`,
    `${scale.open ? "≥ " : ""}${shortNumber(scale.high)}${unit}`,
  ];
}
