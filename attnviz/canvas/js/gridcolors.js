// The colors of the grid's thumbnails: one scale for all heads.

import { codecOf, MASKED, shortNumber } from "./codecs.js";
import { clippedBy, colorTable, endsOf, shareText } from "./scales.js";

const GRID_LEAST = 1e-3; // weight at the low end of a logarithmic scale, or less
const BELOW_EVEN = 0.1; // of the weight that even attention would give each key: the low end lies below that
const MASKED_BYTE = MASKED >> 8;

/** @typedef {Uint8Array} Bytes the upper byte of each cell's code */

export class GridColors {
  constructor() {
    /** @type {"log" | "linear"} */
    this.kind = "log";
    /** @type {import("./scales.js").Scale} */
    this.scale = { kind: "log", low: GRID_LEAST, high: 1, ranks: null };
    this.counts = new Uint32Array(256); // of each byte in all thumbnails
    this.table = new Uint32Array(256); // a color for each byte; 0, transparent, for masked
    /** @type {import("./theme.js").Theme | null} */
    this.theme = null;
  }

  /** @param {import("./payload.js").LayerHeader[]} layers @param {Bytes[]} heads @param {import("./theme.js").Theme} theme */
  use(layers, heads, theme) {
    this.theme = theme;
    const keys = Math.max(1, ...layers.map((layer) => layer.keys ?? 1));
    this.scale = { kind: this.kind, low: this.kind === "log" ? gridLowEnd(keys) : 0, high: 1, ranks: null };
    this.counts.fill(0);
    for (const cells of heads) countBytes(cells, this.counts);
    const full = colorTable(codecOf({ kind: "significant" }), this.scale, theme.sequential);
    for (let byte = 0; byte < MASKED_BYTE; byte++) this.table[byte] = full[codeOfByte(byte)];
    this.table[MASKED_BYTE] = 0;
  }

  /** @param {import("./legend.js").Legend} legend */
  explain(legend) {
    if (!this.theme) return;
    const ends = endsOf(this.scale, clippedBy(this.scale, this.counts, BYTE_VALUES));
    legend.show(this.theme, { ...ends, ramp: this.theme.sequential, masked: this.counts[MASKED_BYTE] > 0 });
  }

  /** What a tooltip says of a thumbnail's colors. @param {Bytes} cells @returns {import("./mode.js").TipRow[]} */
  describe(cells) {
    const { below, total } = clippedBy(this.scale, countBytes(cells, new Uint32Array(256)), BYTE_VALUES);
    return below ? [[`below ${shortNumber(this.scale.low)}`, `${shareText(below, total)}${total > 100 ? " of" : ""} cells`]] : [];
  }
}

/**
 * The low end of a logarithmic scale for texts of so many keys: long ones have smaller weights. A power of
 * ten, so that the colors of a grid mean the same while its layers come in, and for most texts.
 * @param {number} keys
 */
export function gridLowEnd(keys) {
  return Math.min(GRID_LEAST, 10 ** Math.floor(Math.log10(BELOW_EVEN / keys)));
}

/** @param {number} byte */
function codeOfByte(byte) {
  return byte === 0 ? 0 : Math.min(MASKED - 1, byte * 256 + 128);
}

/** The least number of each byte. */
const BYTE_VALUES = Float64Array.from({ length: 256 }, (_, byte) =>
  (byte === MASKED_BYTE ? NaN : codecOf({ kind: "significant" }).values[byte * 256]));

/** @param {Bytes} cells @param {Uint32Array} counts are added to */
function countBytes(cells, counts) {
  for (let i = 0; i < cells.length; i++) counts[cells[i]]++;
  return counts;
}
