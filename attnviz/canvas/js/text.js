// Fitting text on a canvas.

const LEAST_NAME = 40; // px
const BESIDE_NAME = 52; // px for its number and around it
const LEAST_ACROSS = 160; // px of lines
const ACROSS = 0.36; // of the width, which names leave to the lines

/** @type {Map<string, string>} */
const fittedTexts = new Map();
const MOST_REMEMBERED = 20_000;

/**
 * A text cut to fit, with an ellipsis. Results are cached by font.
 * @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} room px
 */
export function fitted(ctx, text, room) {
  if (room <= 8) return "";
  const key = `${ctx.font}|${Math.round(room)}|${text}`;
  let found = fittedTexts.get(key);
  if (found === undefined) {
    found = text;
    if (ctx.measureText(text).width > room) {
      const letters = [...text];
      while (letters.length && ctx.measureText(letters.join("") + "…").width > room) letters.pop();
      found = letters.join("") + "…";
    }
    if (fittedTexts.size > MOST_REMEMBERED) fittedTexts.clear();
    fittedTexts.set(key, found);
  }
  return found;
}

/**
 * Widths of evenly spaced samples of the names, in px, ascending.
 * @param {CanvasRenderingContext2D} ctx @param {string[]} names @param {number} most samples
 */
export function sampledWidths(ctx, names, most) {
  const step = Math.max(1, Math.floor(names.length / most));
  const widths = [];
  for (let i = 0; i < names.length; i += step) widths.push(ctx.measureText(names[i]).width);
  return widths.sort((a, b) => a - b);
}

/** A step of 1, 2, 5, 10, ... that leaves at least `least` pixels. @param {number} pitch @param {number} least */
export function labelStep(pitch, least) {
  for (let unit = 1; ; unit *= 10) {
    for (const step of [1, 2, 5]) if (step * unit * pitch >= least) return step * unit;
  }
}

/**
 * Px for the names on both sides. They are cut only where they would leave too little to the lines.
 * @param {number} width px of all @param {number[]} needs px of the longest name on each side
 */
export function roomForNames(width, needs) {
  const all = width - Math.max(LEAST_ACROSS, ACROSS * width) - 2 * BESIDE_NAME;
  const [left, right] = needs.map((need) => Math.max(LEAST_NAME, need));
  const half = Math.max(LEAST_NAME, all / 2);
  return [Math.min(left, Math.max(half, all - right)), Math.min(right, Math.max(half, all - left))]
    .map((room) => room + BESIDE_NAME);
}
