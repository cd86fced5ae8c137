// Which number is which color on the strip.

import { MASKED, shortNumber } from "./codecs.js";
import { cssColor } from "./theme.js";

const STRIP_LEAST = 1e-4; // of the largest weight, at the low end of a logarithmic scale
const STRIP_WEAK = 0.95; // of the weights lie above its low end, where they are larger than that

/** @typedef {import("./scales.js").Scale & {open: boolean}} StripScale open: the largest lies beyond */

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
  if (kind === "log") { // an even text would be of one color if its scale began far below it
    const weak = values[Math.floor(STRIP_WEAK * (values.length - 1))];
    return { kind, low: Math.max(high * STRIP_LEAST, Math.min(weak, high / 2)), high, ranks: null, open: false };
  }
  const end = second || high; // one token often gets nearly everything: the rest is told apart
  return { kind, low: 0, high: end, ranks: null, open: largest > end };
}

/**
 * Fill a legend: a text, a small canvas, a text.
 * @param {HTMLElement} legend @param {StripScale | null} scale
 * @param {import("./theme.js").Theme} theme @param {string} unit
 */
export function drawStripLegend(legend, scale, theme, unit) {
  legend.hidden = !scale;
  if (!scale) return;
  const [low, bar, high] = /** @type {any} */ (legend.children);
  const ctx = bar.getContext("2d");
  for (let i = 0; i < bar.width; i++) {
    ctx.fillStyle = cssColor(theme.sequential[Math.round((i / (bar.width - 1)) * 255)]);
    ctx.fillRect(i, 0, 1, bar.height);
  }
  low.textContent = `${scale.kind === "log" ? "≤ " : ""}${shortNumber(scale.low)}`;
  high.textContent = `${scale.open ? "≥ " : ""}${shortNumber(scale.high)}${unit}`;
}
