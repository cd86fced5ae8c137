// One pass over a head's map: its picture, and what each token gives and gets.

import { fixedCodeOf, fixedHeaderOf, significantCodeOf } from "./encode.js";
import { MASKED } from "./codecs.js";

/** @typedef {import("./attention.js").HeadAttention} HeadAttention */
/** @typedef {import("./attention.js").AttentionRow} AttentionRow */
/** @typedef {"weights" | "scores"} Quantity */

export const MOST_SQUARES = 1024; // squares along one side of a picture, as ../tiles.py has it
const KEPT_CELLS = 1 << 20; // weights and scores kept of a head, so that nothing is computed twice: 17 MB

/** The side of the squares of which at most `size` fit along either edge. */
export function squareSide(/** @type {number} */ nQ, /** @type {number} */ nK, size = MOST_SQUARES) {
  return Math.max(1, Math.ceil(Math.max(nQ, nK) / size));
}

/**
 * Cells as a canvas is sent them.
 * @typedef {object} CodedTile
 * @property {Uint16Array} codes (height, width) @property {number} height @property {number} width
 * @property {[number, number]} rows @property {[number, number]} cols @property {number} side
 * @property {import("./payload.js").CodecHeader} codec
 * @property {Float32Array} rowMax @property {Float32Array} colMax the largest of each row and column
 */

export class HeadReading {
  /** @param {HeadAttention} head */
  constructor(head) {
    this.head = head;
    const { nQ, nK } = head.parts;
    /** @type {(AttentionRow | undefined)[]} */
    this.rows = [];
    this.keeps = nQ * nK <= KEPT_CELLS;
    /** @type {ReturnType<typeof tokenSums> | null} */
    this._sums = null;
    /** @type {Map<string, CodedTile>} */
    this.tiles = new Map();
  }

  /** @param {number} i a query @returns {AttentionRow} */
  row(i) {
    const found = this.rows[i] ?? this.head.row(i);
    if (this.keeps) this.rows[i] = found;
    return found;
  }

  /** What each token gives and gets. */
  get sums() {
    return (this._sums ??= tokenSums(this));
  }

  /** The whole map. @param {Quantity} quantity */
  picture(quantity) {
    const { nQ, nK } = this.head.parts;
    return this.tile(quantity, [0, nQ], [0, nK], squareSide(nQ, nK));
  }

  /**
   * The largest number of each square of cells.
   * @param {Quantity} quantity @param {[number, number]} rows @param {[number, number]} cols @param {number} side
   * @returns {CodedTile}
   */
  tile(quantity, rows, cols, side) {
    const name = `${quantity}/${rows}/${cols}/${side}`;
    const found = this.tiles.get(name) ?? this._tile(quantity, rows, cols, side);
    this.tiles.clear(); // one is enough: its row sums are kept
    this.tiles.set(name, found);
    return found;
  }

  /** @returns {CodedTile} */
  _tile(/** @type {Quantity} */ quantity, /** @type {[number, number]} */ rows, /** @type {[number, number]} */ cols, /** @type {number} */ side) {
    const [height, width] = [rows, cols].map(([start, stop]) => Math.ceil((stop - start) / side));
    const cells = new Float64Array(height * width).fill(-Infinity);
    const masked = new Uint8Array(height * width).fill(1); // squares of which no cell may be looked at
    const rowMax = new Float32Array(rows[1] - rows[0]).fill(-Infinity);
    const colMax = new Float32Array(cols[1] - cols[0]).fill(-Infinity);
    for (let i = rows[0]; i < rows[1]; i++) {
      const row = this.row(i);
      const numbers = quantity === "weights" ? row.weights : row.scores;
      if (!numbers) throw new Error("This layer's scores are computed inside its module and are not available. Use the Map view.");
      const from = Math.floor((i - rows[0]) / side) * width;
      for (let j = cols[0]; j < cols[1]; j++) {
        const hidden = row.masked !== null && row.masked[j] === 1;
        const value = hidden && quantity === "scores" ? -Infinity : numbers[j];
        const at = from + Math.floor((j - cols[0]) / side);
        if (value > cells[at]) cells[at] = value;
        if (value > rowMax[i - rows[0]]) rowMax[i - rows[0]] = value;
        if (value > colMax[j - cols[0]]) colMax[j - cols[0]] = value;
        if (!hidden) masked[at] = 0;
      }
    }
    return { ...coded(quantity, cells, masked), height, width, rows, cols, side, rowMax, colMax };
  }
}

/**
 * @param {Quantity} quantity @param {Float64Array} cells @param {Uint8Array} masked
 * @returns {{codes: Uint16Array, codec: import("./payload.js").CodecHeader}}
 */
function coded(quantity, cells, masked) {
  const codes = new Uint16Array(cells.length);
  if (quantity === "scores") {
    const codec = fixedHeaderOf(cells);
    for (let at = 0; at < cells.length; at++) codes[at] = fixedCodeOf(cells[at], codec);
    return { codes, codec };
  }
  for (let at = 0; at < cells.length; at++) codes[at] = masked[at] ? MASKED : significantCodeOf(cells[at]);
  return { codes, codec: { kind: "significant" } };
}

/**
 * As in ../../analysis/heads.py: what each key gets, how many queries may look at it, what each query
 * gives to other tokens than itself, and its entropy in bits.
 * @param {HeadReading} reading
 */
function tokenSums(reading) {
  const { nQ, nK } = reading.head.parts;
  const [received, visible] = [new Float64Array(nK), new Float64Array(nK)];
  const [sent, entropy] = [new Float64Array(nQ), new Float64Array(nQ)];
  for (let i = 0; i < nQ; i++) {
    const { weights, masked } = reading.row(i);
    const own = i + nK - nQ;
    for (let j = 0; j < nK; j++) {
      const w = weights[j];
      received[j] += w;
      if (!masked?.[j]) visible[j]++;
      if (j !== own) sent[i] += w;
      if (w > 0) entropy[i] -= w * Math.log2(w);
    }
  }
  return { received, visible, sent, entropy };
}
