// Colours: from Streamlit's theme, and from numbers to colours.

import { MASKED } from "./numbers.js";

/**
 * @typedef {object} Theme
 * @property {string} text
 * @property {string} faint text that is less important
 * @property {string} background
 * @property {string} panel
 * @property {string} border
 * @property {string} primary
 * @property {string} font a CSS font family list
 * @property {boolean} dark
 * @property {Uint32Array} sequential 256 colours, as ImageData holds them
 * @property {Uint32Array} diverging
 * @property {string[]} categorical
 * @property {string} mark what is picked, strong on any colour of a scale
 */

const FALLBACK = {
  light: {
    sequential: "#f2f6f9,#bbd6e4,#6fabc8,#24799f,#074767,#042f47",
    diverging: "#7f3b08,#e08214,#f5f5f3,#8073ac,#2d004b",
    categorical: "#0072b2,#d55e00,#009e73,#cc79a7,#e69f00,#56b4e9",
  },
  dark: {
    sequential: "#17212b,#134155,#106886,#3a96b6,#93c9dd,#cbe5ef",
    diverging: "#fdb863,#b35806,#33304a,#8073ac,#d8daeb",
    categorical: "#56b4e9,#e69f00,#2cc295,#e08fbe,#f0e442,#d9742e",
  },
};

// Scripts that the theme's own font lacks: the browser takes the first that is installed.
const SCRIPTS =
  "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Hebrew', " +
  "'Apple Color Emoji', 'Segoe UI Emoji', 'Noto Color Emoji', sans-serif";

/** @param {Element} host an element below Streamlit's theme variables @returns {Theme} */
export function readTheme(host) {
  const style = getComputedStyle(host);
  const get = (name, otherwise) => {
    const value = style.getPropertyValue(`--st-${name}`).trim();
    return value && value !== "unset" ? value : otherwise;
  };
  const background = get("background-color", "#ffffff");
  const dark = luminance(parseColour(background)) < 0.4;
  const otherwise = dark ? FALLBACK.dark : FALLBACK.light;
  const list = (name, own) => get(`chart-${name}-colors`, own).split(",").map((c) => c.trim());
  const text = get("text-color", dark ? "#e4e9ef" : "#1c2530");
  return {
    text,
    faint: mix(text, background, 0.42),
    background,
    panel: get("secondary-background-color", dark ? "#1a222b" : "#f3f5f7"),
    border: solid(get("border-color", dark ? "#2f3a46" : "#d8dee5"), background),
    primary: get("primary-color", "#0b6a86"),
    font: `${get("font", "sans-serif").replace(/,?\s*sans-serif\s*$/, "") || "sans-serif"}, ${SCRIPTS}`,
    dark,
    sequential: ramp(list("sequential", otherwise.sequential)),
    diverging: ramp(withMiddle(list("diverging", otherwise.diverging), background)),
    categorical: list("categorical", otherwise.categorical),
    mark: dark ? "#ff5ca8" : "#d6006c",
  };
}

/** @param {string} colour @returns {[number, number, number, number]} */
function parseColour(colour) {
  const hex = /^#([0-9a-f]{3,8})$/i.exec(colour);
  if (hex) {
    let digits = hex[1];
    if (digits.length < 6) digits = [...digits].map((d) => d + d).join("");
    const parts = digits.match(/../g).map((pair) => parseInt(pair, 16));
    return [parts[0], parts[1], parts[2], parts.length > 3 ? parts[3] / 255 : 1];
  }
  const numbers = (colour.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
  return [numbers[0], numbers[1], numbers[2], numbers[3] ?? 1];
}

/** @param {number[]} colour */
function luminance([r, g, b]) {
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

/** @param {string} a @param {string} b @param {number} t share of b */
export function mix(a, b, t) {
  const [x, y] = [parseColour(a), parseColour(b)];
  const part = (i) => Math.round(x[i] * (1 - t) + y[i] * t);
  return `rgb(${part(0)}, ${part(1)}, ${part(2)})`;
}

function solid(colour, background) {
  return mix(background, colour, parseColour(colour)[3]);
}

/** @param {string[]} colours CSS colours @returns {Uint32Array} 256 steps between them */
function ramp(colours) {
  const stops = colours.map(parseColour);
  const out = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(at));
    const t = at - k;
    const part = (c) => Math.round(stops[k][c] * (1 - t) + stops[k + 1][c] * t);
    out[i] = (255 << 24) | (part(2) << 16) | (part(1) << 8) | part(0);
  }
  return out;
}

/** Zero is no colour: where two halves meet without a middle, the page's own comes between. */
function withMiddle(colours, background) {
  if (colours.length % 2) return colours;
  const half = colours.length / 2;
  return [...colours.slice(0, half), mix(background, colours[half], 0.12), ...colours.slice(half)];
}

/** One of 256 packed colours as CSS. @param {number} packed */
export function cssColour(packed) {
  return `rgb(${packed & 255}, ${(packed >> 8) & 255}, ${(packed >> 16) & 255})`;
}

/** Whether dark letters are read better on it. @param {number} packed */
export function isBright(packed) {
  return luminance([packed & 255, (packed >> 8) & 255, (packed >> 16) & 255]) > 0.52;
}

/** A colour for one of n heads. @param {Theme} theme @param {number} i @param {number} n */
export function headColour(theme, i, n) {
  if (n <= theme.categorical.length) return theme.categorical[i];
  const hue = Math.round((i * 360) / n);
  const light = (theme.dark ? [66, 76] : [38, 50])[i % 2];
  return `hsl(${hue} 70% ${light}%)`;
}

/**
 * @typedef {object} Scale from a cell's number to a place on the colour ramp
 * @property {"linear" | "log" | "percentile"} kind
 * @property {number} low
 * @property {number} high
 * @property {Float32Array | null} ranks of each code, for percentiles
 * @property {boolean} [twoSided] the scale is of sizes, and begins at the middle of the colours
 */

/** @param {Scale} scale @param {number} value @param {number} code @returns {number} 0 to 1 */
export function placeOn(scale, value, code) {
  if (!scale.twoSided) return placeOfSize(scale, value, code);
  return 0.5 + (Math.sign(value) * placeOfSize(scale, Math.abs(value), code)) / 2;
}

function placeOfSize(scale, value, code) {
  if (scale.kind === "percentile" && scale.ranks) return scale.ranks[code];
  if (scale.kind === "log") {
    if (value <= scale.low) return 0;
    return Math.min(1, Math.log(value / scale.low) / Math.log(scale.high / scale.low));
  }
  return Math.min(1, Math.max(0, (value - scale.low) / (scale.high - scale.low || 1)));
}

/**
 * One colour a code.
 * @param {import("./numbers.js").Codec} codec
 * @param {Scale} scale
 * @param {Uint32Array} colours
 */
export function colourTable(codec, scale, colours) {
  const table = new Uint32Array(65536);
  for (let code = 0; code < MASKED; code++) {
    table[code] = colours[Math.round(placeOn(scale, codec.values[code], code) * 255)];
  }
  return table; // masked: nothing, the page shows through
}

/** The share of cells below each code. @param {Uint16Array} codes @returns {Float32Array} */
export function ranksOf(codes) {
  const counts = new Uint32Array(65536);
  for (let i = 0; i < codes.length; i++) counts[codes[i]]++;
  counts[0] = counts[MASKED] = 0; // a causal map's empty half would push all else to the top
  const ranks = new Float32Array(65536);
  let below = 0;
  const total = codes.length ? counts.reduce((a, b) => a + b, 0) || 1 : 1;
  for (let code = 0; code < MASKED; code++) {
    ranks[code] = (below + counts[code] / 2) / total;
    below += counts[code];
  }
  ranks[0] = 0;
  return ranks;
}

/** The share of cells that are nearer to zero than each code. @param {Uint16Array} codes @param {import("./numbers.js").Codec} codec */
export function sizeRanksOf(codes, codec) {
  const counts = new Uint32Array(65536);
  for (let i = 0; i < codes.length; i++) counts[codes[i]]++;
  const order = Array.from({ length: MASKED }, (_, code) => code)
    .sort((a, b) => Math.abs(codec.values[a]) - Math.abs(codec.values[b]));
  const total = codes.length - counts[MASKED] || 1;
  const ranks = new Float32Array(65536);
  let below = 0;
  for (const code of order) {
    ranks[code] = (below + counts[code] / 2) / total;
    below += counts[code];
  }
  return ranks;
}
