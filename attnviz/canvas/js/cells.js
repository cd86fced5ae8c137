// The cells of a map in words: one, or those in view as a table, or written into the cells.

import { MASKED } from "./codecs.js";
import { letterColor } from "./theme.js";

/**
 * @typedef {import("./payload.js").Cell} Cell
 * @typedef {import("./payload.js").MapHeader} MapHeader
 * @typedef {import("./payload.js").Span} Span
 * @typedef {import("./mapbases.js").MapBase} MapBase
 * @typedef {import("./map.js").MapMode} MapMode
 */

const TABLE_CELLS = 24; // rows and columns of a table
const DIGITS = 6; // of a number that was sent exactly
const CELL_DIGITS = 3; // of one that is written into its cell

/**
 * A cell's code, and the tile that has it.
 * @typedef {object} Reading
 * @property {import("./pyramid.js").Tile} tile
 * @property {number} i index among the tile's codes
 */

/**
 * The first reading there is of a cell.
 * @param {import("./pyramid.js").Pyramid[]} pyramids the finest first; the last covers every cell
 * @param {Cell} at
 * @returns {Reading}
 */
export function readCell(pyramids, [row, col]) {
  for (const { tile } of pyramids) {
    if (row < tile.rows[0] || row >= tile.rows[1] || col < tile.cols[0] || col >= tile.cols[1]) continue;
    const i = Math.floor((row - tile.rows[0]) / tile.side);
    const j = Math.floor((col - tile.cols[0]) / tile.side);
    return { tile, i: i * tile.width + j };
  }
  throw new Error("The base covers every cell.");
}

/** @param {Reading} reading @param {number} [digits] */
export function textOf({ tile, i }, digits = DIGITS) {
  const code = tile.codes[i];
  if (!tile.exact || code === MASKED) return tile.codec.text(code);
  return String(Number(tile.exact[i].toPrecision(digits)));
}

/**
 * The tooltip of a cell.
 * @param {MapHeader} header @param {{rowNames: string[], colNames: string[]}} names
 * @param {Cell} at @param {Reading} reading
 * @returns {import("./mode.js").TipRow[]}
 */
export function describeCell(header, names, at, reading) {
  const { side } = reading.tile;
  const what = header.quantity.replace(/s$/, "");
  return [
    titled(header.rowTitle ?? "query", at[0], names.rowNames),
    titled(header.colTitle ?? "key", at[1], names.colNames),
    [side === 1 ? what : `largest ${what} of ${side} × ${side}`, textOf(reading)],
  ];
}

/** @param {string} title @param {number} at @param {string[]} names @returns {import("./mode.js").TipRow} */
function titled(title, at, names) {
  return names[at] === String(at) ? [title, names[at]] : [title, `${at} · `, names[at]];
}

/**
 * The cells around the hovered or picked one, or from the corner of what is in view.
 * @param {MapMode} map @param {MapHeader} header @param {MapBase} base
 * @returns {import("./mode.js").Table}
 */
export function tableOf(map, header, base) {
  const { rows, cols } = map.view.visible();
  const at = map.hovered ?? map.picked;
  const [r0, r1] = around(rows, at?.[0]);
  const [c0, c1] = around(cols, at?.[1]);
  const numbers = (/** @type {number} */ a, /** @type {number} */ b) => Array.from({ length: b - a }, (_, i) => a + i);
  const { rowTitle = "query", colTitle = "key" } = header;
  /** @param {string[]} names @param {number} i @returns {import("./mode.js").TableCell} */
  const name = (names, i) => (names[i] === String(i) ? names[i] : [`${i} `, names[i]]);
  return {
    caption: `${header.title}, rows (${rowTitle}) ${r0} to ${r1 - 1}, columns (${colTitle}) ${c0} to ${c1 - 1}`,
    columns: [rowTitle, ...numbers(c0, c1).map((j) => name(base.colNames, j))],
    rows: numbers(r0, r1).map((i) => [name(base.rowNames, i),
      ...numbers(c0, c1).map((j) => {
        const reading = map.read(base, [i, j]);
        return (reading.tile.side === 1 ? "" : "≤ ") + textOf(reading);
      })]),
  };
}

/** The part of a span that fits a table. @param {Span} span @param {number} [middle] @returns {Span} */
export function around([start, stop], middle) {
  const from = Math.max(start, Math.min(stop - TABLE_CELLS, (middle ?? start) - TABLE_CELLS / 2));
  return [from, Math.min(stop, from + TABLE_CELLS)];
}

/** The numbers in their cells. @param {CanvasRenderingContext2D} ctx @param {MapMode} map @param {MapBase} base */
export function drawNumbers(ctx, map, base) {
  const { stage, view, shading } = map;
  const { rows, cols } = view.visible();
  ctx.font = stage.font(11);
  ctx.textAlign = "center";
  for (let i = rows[0]; i < rows[1]; i++) {
    for (let j = cols[0]; j < cols[1]; j++) {
      const reading = map.read(base, [i, j]);
      const code = reading.tile.codes[reading.i];
      if (reading.tile.side > 1 || code === MASKED) continue;
      ctx.fillStyle = letterColor(shading.colorOf(reading.tile, [i, j], code));
      const [x, y] = view.middle([i, j]);
      ctx.fillText(textOf(reading, CELL_DIGITS), x, y);
    }
  }
}
