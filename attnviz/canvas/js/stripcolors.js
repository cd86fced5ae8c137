// The color scale of the strip.

import { MASKED } from "./codecs.js";

const STRIP_LEAST = 1e-4; // of the largest weight, at the low end of a logarithmic scale
const STRIP_WEAK = 0.95; // of the weights lie above the low end, if they are larger than that

/**
 * @param {Uint16Array} codes @param {import("./codecs.js").Codec} codec
 * @param {"linear" | "log" | "range"} kind range: from the smallest number to the largest
 * @returns {import("./scales.js").Scale | null} null where there is no number
 */
export function stripScale(codes, codec, kind) {
  const values = [];
  for (const code of codes) if (code !== MASKED) values.push(codec.values[code]);
  if (!values.length) return null;
  values.sort((a, b) => b - a);
  const [largest, second] = values;
  const least = values[values.length - 1];
  if (kind === "range") {
    return { kind: "linear", low: least < largest ? least : 0, high: largest || 1, ranks: null };
  }
  const high = largest || 1;
  if (kind === "log") { // a text of even weights would have one color if the scale began far below them
    const weak = values[Math.floor(STRIP_WEAK * (values.length - 1))];
    return { kind, low: Math.max(high * STRIP_LEAST, Math.min(weak, high / 2)), high, ranks: null };
  }
  return { kind, low: 0, high: second || high, ranks: null }; // one token often gets nearly everything: tell the rest apart
}
