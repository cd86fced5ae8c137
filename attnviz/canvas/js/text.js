// Fitting text on a canvas.

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
