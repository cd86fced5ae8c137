// Positions of chips: in lines as wide as the canvas, text after text.

const CHIP_HEIGHT = 24; // px of a chip
const CHIP_GAP = 4;
const CHIP_BELOW = 8; // px to the next line, with room for a mark under the chips
const TEXT_HEADING = 22;
export const STRIP_EDGE = 3; // px around the chips

/**
 * @typedef {import("./payload.js").TextSection & {start: number, stop: number}} Section a text's chips
 */

/**
 * @typedef {object} StripLine
 * @property {number} y @property {number} h @property {Section} section
 * @property {number} from the first chip @property {number} to one past the last
 */

/**
 * @typedef {object} StripLayout
 * @property {StripLine[]} lines
 * @property {{y: number, section: Section}[]} headings
 * @property {Float32Array} xs left of each chip
 * @property {Float32Array} shown width of each chip, never wider than the canvas
 * @property {number} content px, height of all
 */

/**
 * @param {Section[]} sections @param {Float32Array} widths of the chips
 * @param {number} width of the canvas
 * @returns {StripLayout}
 */
export function layoutChips(sections, widths, width) {
  const xs = new Float32Array(widths.length);
  const shown = new Float32Array(widths.length);
  /** @type {StripLine[]} */
  const lines = [];
  /** @type {StripLayout["headings"]} */
  const headings = [];
  let y = STRIP_EDGE;
  for (const section of sections) {
    if (sections.length > 1) {
      headings.push({ y, section });
      y += TEXT_HEADING;
    }
    let x = STRIP_EDGE;
    /** @type {StripLine | null} */
    let line = null;
    for (let chip = section.start; chip < section.stop; chip++) {
      shown[chip] = Math.min(widths[chip], width - 2 * STRIP_EDGE);
      if (!line || x + shown[chip] > width - STRIP_EDGE) {
        if (line) y += CHIP_HEIGHT + CHIP_BELOW;
        line = { y, h: CHIP_HEIGHT, section, from: chip, to: chip };
        lines.push(line);
        x = STRIP_EDGE;
      }
      xs[chip] = x;
      line.to = chip + 1;
      x += shown[chip] + CHIP_GAP;
    }
    if (line) y += CHIP_HEIGHT + CHIP_BELOW;
  }
  return { lines, headings, xs, shown, content: y };
}

/** Px of a strip of one line for each text. @param {StripLayout} layout */
export function foldedHeight({ headings, content }) {
  const line = CHIP_HEIGHT + CHIP_BELOW;
  return Math.min(content, STRIP_EDGE + headings.length * TEXT_HEADING + Math.max(1, headings.length) * line);
}

/** The line at a height, or null between lines. @param {StripLine[]} lines @param {number} y */
export function lineAt(lines, y) {
  const line = lines[lastIndex(lines, (one) => one.y <= y)];
  return line && y >= line.y && y < line.y + line.h ? line : null;
}

/** The index of the line of a chip. @param {StripLine[]} lines @param {number} chip */
export function lineIndexOf(lines, chip) {
  return lastIndex(lines, (line) => line.from <= chip);
}

/** The last line for which it holds, by bisection; 0 if none. @param {StripLine[]} lines @param {(line: StripLine) => boolean} holds */
function lastIndex(lines, holds) {
  let [low, high] = [0, lines.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (holds(lines[middle])) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * The nearest chip some lines below a chip (above, if negative), or itself.
 * @param {StripLayout} layout @param {number} chip @param {number} step
 */
export function chipBelow({ lines, xs, shown }, chip, step) {
  const line = lines[lineIndexOf(lines, chip) + step];
  if (!line) return chip;
  const middle = xs[chip] + shown[chip] / 2;
  const away = (/** @type {number} */ other) => Math.abs(xs[other] + shown[other] / 2 - middle);
  let best = line.from;
  for (let other = line.from; other < line.to; other++) if (away(other) < away(best)) best = other;
  return best;
}
