// The maps that were sent whole: the last few are kept, so that the server need not send them again.

import { codecOf } from "./codecs.js";
import { Pyramid } from "./pyramid.js";
import { rangeOfTile } from "./shading.js";

const BASES_KEPT = 4;

/**
 * @typedef {object} MapBase everything sent with a whole map
 * @property {import("./pyramid.js").Pyramid} pyramid
 * @property {Float32Array} rowMax
 * @property {Float32Array} colMax
 * @property {string[]} rowNames
 * @property {string[]} colNames
 * @property {boolean} twoSided zero is the middle of the ramp
 * @property {Float32Array | null} ranks
 * @property {Uint32Array | null} counts of each code
 * @property {number} largest absolute value
 */

/** @typedef {import("./payload.js").MapHeader} MapHeader */

export class MapBases {
  constructor() {
    /** @type {Map<string, MapBase>} */
    this.byId = new Map();
  }

  /**
   * The base of a map: from its message, or kept from before; null if there is none.
   * @param {MapHeader} header @param {import("./payload.js").MapPayload["arrays"]} arrays
   */
  receive(header, { base, exact, rowMax, colMax }) {
    if (base && rowMax && colMax) {
      const pyramid = pyramidOf(header, "base", base, exact);
      const twoSided = header.twoSided ?? pyramid.tile.codec.signed;
      this.byId.delete(header.id);
      this.byId.set(header.id, {
        pyramid, twoSided, rowMax, colMax,
        rowNames: header.rowNames ?? [], colNames: header.colNames ?? [],
        ranks: null, counts: null, largest: header.top ?? (twoSided ? largestInTile(pyramid.tile) : largestSize(rowMax)),
      });
      for (const id of [...this.byId.keys()].slice(0, -BASES_KEPT)) this.byId.delete(id);
    }
    return this.byId.get(header.id) ?? null;
  }
}

/**
 * @param {MapHeader} header @param {"base" | "tile"} name @param {Uint16Array} codes
 * @param {Float32Array} [exact]
 */
export function pyramidOf(header, name, codes, exact) {
  const part = /** @type {import("./payload.js").TileHeader} */ (header[name]);
  const [height, width] = header.arrays[name].shape;
  return new Pyramid({ ...part, codes, exact: exact ?? null, height, width, codec: codecOf(part.codec) });
}

/** The largest absolute value among finite numbers, or 1. @param {Float32Array} numbers */
function largestSize(numbers) {
  let most = 0;
  for (let i = 0; i < numbers.length; i++) {
    const size = Math.abs(numbers[i]);
    if (Number.isFinite(size) && size > most) most = size;
  }
  return most || 1;
}

/** The largest absolute value in a tile, or 1. @param {import("./pyramid.js").Tile} tile */
function largestInTile(tile) {
  return Math.max(...rangeOfTile(tile).map(Math.abs)) || 1;
}

