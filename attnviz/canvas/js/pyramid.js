// A tile of a map as images of every size: each level has the maxima of 2 x 2 of the one before.

import { MASKED } from "./codecs.js";
import { context2d } from "./dom.js";

/**
 * @typedef {object} Tile a rectangle of a map, see ../tiles.py
 * @property {Uint16Array} codes
 * @property {Float32Array | null} exact the numbers themselves, if they were sent
 * @property {import("./payload.js").Span} rows
 * @property {import("./payload.js").Span} cols
 * @property {number} side cells along the side of one code's square
 * @property {number} height codes
 * @property {number} width
 * @property {import("./codecs.js").Codec} codec
 */

/**
 * @typedef {object} Level
 * @property {Uint16Array} codes
 * @property {number} height
 * @property {number} width
 * @property {number} factor of the tile's size
 * @property {HTMLCanvasElement | null} image
 */

export class Pyramid {
  /** @param {Tile} tile */
  constructor(tile) {
    this.tile = tile;
    /** @type {boolean | undefined} */
    this._masked = undefined;
    /** @type {Level[]} */
    this.levels = [{ codes: tile.codes, height: tile.height, width: tile.width, factor: 1, image: null }];
  }

  /** Whether some cells, or whole squares of cells, are masked. */
  get masked() {
    return (this._masked ??= this.tile.codes.includes(MASKED));
  }

  /** Paint it anew the next time. */
  forget() {
    for (const level of this.levels) level.image = null;
  }

  /** @param {number} k */
  _level(k) {
    while (this.levels.length <= k) {
      const last = this.levels[this.levels.length - 1];
      const [height, width] = [Math.ceil(last.height / 2), Math.ceil(last.width / 2)];
      const codes = new Uint16Array(height * width);
      for (let i = 0; i < height; i++) {
        const a = 2 * i * last.width;
        const b = Math.min(2 * i + 1, last.height - 1) * last.width;
        for (let j = 0; j < width; j++) {
          const l = 2 * j;
          const r = Math.min(l + 1, last.width - 1);
          codes[i * width + j] = unmaskedMax(
            unmaskedMax(last.codes[a + l], last.codes[a + r]),
            unmaskedMax(last.codes[b + l], last.codes[b + r]));
        }
      }
      this.levels.push({ codes, height, width, factor: last.factor * 2, image: null });
    }
    return this.levels[k];
  }

  /**
   * @param {CanvasRenderingContext2D} ctx
   * @param {import("./viewport.js").Viewport} view whose origin is the plot's corner
   * @param {number} dpr
   * @param {(level: Level, tile: Tile) => Uint32Array} paint its pixels
   * @param {(x: number, y: number, w: number, h: number) => void} ground draws masked cells, below all
   */
  draw(ctx, view, dpr, paint, ground) {
    const { rows, cols, side } = this.tile;
    const { cell, tall } = view;
    let k = 0;
    while (Math.min(cell, tall) * dpr * side * 2 ** k < 1 && this._level(k).width > 1) k++;
    const level = this._level(k);
    level.image ??= imageOf(paint(level, this.tile), level.width, level.height);
    const [across, down] = [side * level.factor * cell, side * level.factor * tall]; // px a pixel of the image
    const [left, top] = [view.x + cols[0] * cell, view.y + rows[0] * tall];
    const [width, height] = [(cols[1] - cols[0]) * cell, (rows[1] - rows[0]) * tall];
    const j0 = Math.max(0, Math.floor(-left / across));
    const i0 = Math.max(0, Math.floor(-top / down));
    const j1 = Math.min(level.width, Math.ceil((view.width - left) / across));
    const i1 = Math.min(level.height, Math.ceil((view.height - top) / down));
    if (j1 <= j0 || i1 <= i0) return;
    ctx.save();
    ctx.beginPath(); // the last square may reach over the edge
    ctx.rect(left, top, width, height);
    ctx.clip();
    if (this.masked) {
      const [x, y] = [Math.max(0, left), Math.max(0, top)];
      ground(x, y, Math.min(view.width, left + width) - x, Math.min(view.height, top + height) - y);
    }
    ctx.imageSmoothingEnabled = Math.min(across, down) * dpr < 1.6;
    ctx.drawImage(level.image, j0, i0, j1 - j0, i1 - i0,
      left + j0 * across, top + i0 * down, (j1 - j0) * across, (i1 - i0) * down);
    ctx.restore();
  }
}

/** @param {number} a @param {number} b */
function unmaskedMax(a, b) {
  if (a === MASKED) return b;
  if (b === MASKED) return a;
  return a > b ? a : b;
}

/** @param {Uint32Array} pixels @param {number} width @param {number} height */
export function imageOf(pixels, width, height) {
  const image = document.createElement("canvas");
  image.width = width;
  image.height = height;
  const bytes = new Uint8ClampedArray(/** @type {ArrayBuffer} */ (pixels.buffer));
  context2d(image).putImageData(new ImageData(bytes, width, height), 0, 0);
  return image;
}
