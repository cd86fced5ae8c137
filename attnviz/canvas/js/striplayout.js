// Where chips stand: in lines as wide as the canvas, text after text.

const CHIP_HEIGHT = 24; // px of a chip
const CHIP_GAP = 4;
const CHIP_BELOW = 8; // px to the next line, with room for a mark under the chips
const TEXT_HEADING = 22;
const STRIP_EDGE = 3;

/**
 * @typedef {object} StripLine
 * @property {number} y @property {number} h @property {any} section
 * @property {number} from the first chip @property {number} to one past the last
 */

/**
 * @param {{start: number, stop: number}[]} sections @param {Float32Array} widths of the chips
 * @param {number} width of the canvas
 * @returns {{lines: StripLine[], headings: {y: number, section: any}[], xs: Float32Array, shown: Float32Array, content: number}}
 */
export function layoutChips(sections, widths, width) {
  const xs = new Float32Array(widths.length);
  const shown = new Float32Array(widths.length); // widths, of which none is wider than the canvas
  const lines = /** @type {StripLine[]} */ ([]);
  const headings = [];
  let y = STRIP_EDGE;
  for (const section of sections) {
    if (sections.length > 1) {
      headings.push({ y, section });
      y += TEXT_HEADING;
    }
    let x = STRIP_EDGE;
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

/** The line there, or null between lines. @param {StripLine[]} lines @param {number} y */
export function lineAt(lines, y) {
  let [low, high] = [0, lines.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (lines[middle].y <= y) low = middle;
    else high = middle - 1;
  }
  const line = lines[low];
  return line && y >= line.y && y < line.y + line.h ? line : null;
}
