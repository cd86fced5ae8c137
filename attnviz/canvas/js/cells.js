// What a map says in words: one cell, or those in view as a table.

import { MASKED } from "./codecs.js";
import { letterColor } from "./theme.js";

const TABLE_CELLS = 24;
const DIGITS = 6; // of a number that came as it is
const CELL_DIGITS = 3; // of one that is written into its cell

/**
 * @typedef {object} Read a cell and where it was read
 * @property {import("./pyramid.js").Tile} sheet
 * @property {number} i its place among the sheet's cells
 */

/**
 * The best that is known of a cell.
 * @param {(import("./pyramid.js").Pyramid | null)[]} pictures the finest first
 * @param {[number, number]} at
 * @returns {Read}
 */
export function readCell(pictures, [row, col]) {
  for (const picture of pictures) {
    const s = picture?.sheet;
    if (!s || row < s.rows[0] || row >= s.rows[1] || col < s.cols[0] || col >= s.cols[1]) continue;
    const i = Math.floor((row - s.rows[0]) / s.side);
    const j = Math.floor((col - s.cols[0]) / s.side);
    return { sheet: s, i: i * s.width + j };
  }
  throw new Error("The base covers every cell.");
}

/** @param {Read} read @param {number} [digits] */
export function textOf({ sheet, i }, digits = DIGITS) {
  const code = sheet.codes[i];
  if (!sheet.exact || code === MASKED) return sheet.codec.text(code);
  return String(Number(sheet.exact[i].toPrecision(digits)));
}

/**
 * A cell in words.
 * @param {any} header @param {{rowNames: string[], colNames: string[]}} names
 * @param {[number, number]} at @param {Read} read
 * @returns {import("./stage.js").TipRow[]}
 */
export function describeCell(header, names, at, read) {
  const { side } = read.sheet;
  const what = header.quantity.replace(/s$/, "");
  return [
    titled(header.rowTitle ?? "query", at[0], names.rowNames),
    titled(header.colTitle ?? "key", at[1], names.colNames),
    [side === 1 ? what : `largest ${what} of ${side} × ${side}`, textOf(read)],
  ];
}

/** @returns {import("./stage.js").TipRow} */
function titled(title, at, names) {
  return names[at] === String(at) ? [title, names[at]] : [title, `${at} · `, names[at]];
}

/**
 * The cells around one, or from the corner of what is in view.
 * @param {any} map a MapMode
 */
export function tableOf({ header, held, view, cursor, picked, readAt }) {
  const clip = ([start, stop], at) => {
    const from = Math.max(start, Math.min(stop - TABLE_CELLS, (at ?? start) - TABLE_CELLS / 2));
    return [from, Math.min(stop, from + TABLE_CELLS)];
  };
  const { rows, cols } = view.visible();
  const at = cursor ?? picked;
  const [r0, r1] = clip(rows, at?.[0]);
  const [c0, c1] = clip(cols, at?.[1]);
  const numbers = (a, b) => Array.from({ length: b - a }, (_, i) => a + i);
  const [rowTitle, colTitle] = [header.rowTitle ?? "query", header.colTitle ?? "key"];
  const name = (names, i) => (names[i] === String(i) ? names[i] : [`${i} `, names[i]]);
  return {
    caption: `${header.title}, rows (${rowTitle}) ${r0} to ${r1 - 1}, columns (${colTitle}) ${c0} to ${c1 - 1}`,
    columns: [rowTitle, ...numbers(c0, c1).map((j) => name(held.colNames, j))],
    rows: numbers(r0, r1).map((i) => [name(held.rowNames, i),
      ...numbers(c0, c1).map((j) => {
        const read = readAt([i, j]);
        return (read.sheet.side === 1 ? "" : "≤ ") + textOf(read);
      })]),
  };
}

/** The numbers themselves, where their cells are large enough. @param {CanvasRenderingContext2D} ctx @param {any} map a MapMode */
export function drawNumbers(ctx, { stage, view, shading, readAt }) {
  const { rows, cols } = view.visible();
  ctx.font = stage.font(11);
  ctx.textAlign = "center";
  for (let i = rows[0]; i < rows[1]; i++) {
    for (let j = cols[0]; j < cols[1]; j++) {
      const read = readAt([i, j]);
      const code = read.sheet.codes[read.i];
      if (read.sheet.side > 1 || code === MASKED) continue;
      ctx.fillStyle = letterColor(shading.colorOf(read.sheet, [i, j], code));
      const [x, y] = view.middle([i, j]);
      ctx.fillText(textOf(read, CELL_DIGITS), x, y);
    }
  }
}
