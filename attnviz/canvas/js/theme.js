// The page's colors and font, from Streamlit's theme variables, and arithmetic on colors.

import { PALETTES } from "./palettes.js";

/**
 * @typedef {object} Theme
 * @property {string} text
 * @property {string} faint text that is less important
 * @property {string} background
 * @property {string} border
 * @property {string} primary
 * @property {string} font a CSS font family list
 * @property {boolean} dark
 * @property {Uint32Array} sequential 256 colors, packed as ImageData stores them
 * @property {Uint32Array} diverging the same, negative to positive
 * @property {string[]} categorical
 * @property {string} hatch the lines over masked cells
 * @property {string} selected strong on any color of a ramp
 */

/** @typedef {number[]} Rgba red, green and blue from 0 to 255, alpha from 0 to 1 */

const DARK_BELOW = 0.4; // luminance; as in ../../charts/palettes.py

// For scripts that the theme's own font lacks: the browser takes the first that is installed.
const SCRIPTS =
  "system-ui, 'Segoe UI', 'Noto Sans', 'Noto Sans CJK SC', 'Noto Sans Arabic', 'Noto Sans Hebrew', " +
  "'Apple Color Emoji', 'Segoe UI Emoji', 'Noto Color Emoji', sans-serif";

/** @param {Element} host an element below the theme variables @returns {Theme} */
export function readTheme(host) {
  const style = getComputedStyle(host);
  /** @param {string} name @param {string} fallback */
  const get = (name, fallback) => {
    const value = style.getPropertyValue(`--st-${name}`).trim();
    return value && value !== "unset" ? value : fallback;
  };
  const background = get("background-color", PALETTES.light.page.background);
  const dark = luminance(parseColor(background)) < DARK_BELOW;
  const plain = PALETTES[dark ? "dark" : "light"].page;
  return themeOf(dark, {
    background, text: get("text-color", plain.text), border: get("border-color", plain.border), primary: get("primary-color", plain.primary),
  }, `${get("font", "sans-serif").replace(/,?\s*sans-serif\s*$/, "") || "sans-serif"}, ${SCRIPTS}`);
}

/** Colors for a picture that leaves the page. @param {boolean} dark @param {string} font @returns {Theme} */
export function plainTheme(dark, font) {
  return themeOf(dark, PALETTES[dark ? "dark" : "light"].page, font);
}

/** @param {boolean} dark @param {{background: string, text: string, border: string, primary: string}} colors @param {string} font @returns {Theme} */
function themeOf(dark, { background, text, border, primary }, font) {
  const palette = dark ? PALETTES.dark : PALETTES.light;
  return {
    text,
    faint: mix(text, background, 0.42),
    background,
    border: opaque(border, background),
    primary,
    font,
    dark,
    sequential: ramp(palette.sequential),
    diverging: ramp(palette.diverging),
    categorical: palette.categorical,
    hatch: mix(background, text, 0.28),
    selected: palette.selected,
  };
}

/** @param {string} color hexadecimal, or rgb() as browsers write it @returns {Rgba} */
export function parseColor(color) {
  const hex = /^#([0-9a-f]{3,8})$/i.exec(color);
  if (hex) {
    const digits = hex[1].length < 6 ? [...hex[1]].map((d) => d + d).join("") : hex[1];
    const parts = (digits.match(/../g) ?? []).map((pair) => parseInt(pair, 16));
    return [parts[0], parts[1], parts[2], parts.length > 3 ? parts[3] / 255 : 1];
  }
  const numbers = (color.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
  return [numbers[0], numbers[1], numbers[2], numbers[3] ?? 1];
}

/** @param {Rgba} color */
function luminance([r, g, b]) {
  return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

/** @param {string} a @param {string} b @param {number} t share of b */
export function mix(a, b, t) {
  const [x, y] = [parseColor(a), parseColor(b)];
  const [r, g, blue] = [0, 1, 2].map((i) => Math.round(x[i] * (1 - t) + y[i] * t));
  return `rgb(${r}, ${g}, ${blue})`;
}

/** What a translucent color looks like on a background. @param {string} color @param {string} background */
function opaque(color, background) {
  return mix(background, color, parseColor(color)[3]);
}

/** @param {string[]} colors CSS colors @returns {Uint32Array} 256 steps between them */
export function ramp(colors) {
  const stops = colors.map(parseColor);
  const packed = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(at));
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[k][c] * (1 - (at - k)) + stops[k + 1][c] * (at - k)));
    packed[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  return packed;
}

/** @param {number} packed @returns {string} as CSS */
export function cssColor(packed) {
  return `rgb(${packed & 255}, ${(packed >> 8) & 255}, ${(packed >> 16) & 255})`;
}

/** The color of letters on a bright ground, or on a dark one. @param {boolean} bright */
export function inkOn(bright) {
  return PALETTES[bright ? "dark" : "light"].page.background;
}

/** The letter color that reads better on a packed color. @param {number} packed */
export function letterColor(packed) {
  const bright = luminance([packed & 255, (packed >> 8) & 255, (packed >> 16) & 255]) > 0.52;
  return inkOn(bright);
}

/**
 * A head's color. The palette has six hues that everybody can tell apart, and a gray for all heads beyond.
 * @param {Theme} theme @param {number} place among the heads shown
 */
export function headColor({ categorical }, place) {
  return categorical[Math.min(place, categorical.length - 1)];
}
