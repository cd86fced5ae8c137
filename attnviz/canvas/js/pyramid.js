// Rectangles of cells as images, at every size: each level holds the maxima of 2 x 2 of the one before.

import { MASKED } from "./codecs.js";

/**
 * @typedef {object} Tile part of a map: see ../map.py
 * @property {Uint16Array} codes
 * @property {Float32Array | null} exact the numbers themselves, where they came along
 * @property {[number, number]} rows
 * @property {[number, number]} cols
 * @property {number} side
 * @property {number} height cells of the picture
 * @property {number} width
 * @property {import("./codecs.js").Codec} codec
 */

export class Pyramid {
  /** @param {Tile} sheet */
  constructor(sheet) {
    this.sheet = sheet;
    /** @type {{codes: Uint16Array, height: number, width: number, factor: number, image: HTMLCanvasElement | null}[]} */
    this.levels = [{ codes: sheet.codes, height: sheet.height, width: sheet.width, factor: 1, image: null }];
  }

  /** Draw it anew the next time. */
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
   * @param {import("./viewport.js").Viewport} place the origin is the plot's corner
   * @param {number} dpr
   * @param {(codes: Uint16Array, level: any, sheet: Tile) => Uint32Array} paint
   */
  draw(ctx, place, dpr, paint) {
    const { rows, cols, side } = this.sheet;
    const { cell } = place;
    let k = 0;
    while (cell * dpr * side * 2 ** k < 1 && this._level(k).width > 1) k++;
    const level = this._level(k);
    level.image ??= imageOf(paint(level.codes, level, this.sheet), level.width, level.height);
    const step = side * level.factor * cell; // px a pixel of the image
    const [left, top] = [place.x + cols[0] * cell, place.y + rows[0] * cell];
    const j0 = Math.max(0, Math.floor(-left / step));
    const i0 = Math.max(0, Math.floor(-top / step));
    const j1 = Math.min(level.width, Math.ceil((place.width - left) / step));
    const i1 = Math.min(level.height, Math.ceil((place.height - top) / step));
    if (j1 <= j0 || i1 <= i0) return;
    ctx.save();
    ctx.beginPath(); // the last square may reach over the edge
    ctx.rect(left, top, (cols[1] - cols[0]) * cell, (rows[1] - rows[0]) * cell);
    ctx.clip();
    ctx.imageSmoothingEnabled = step * dpr < 1.6;
    ctx.drawImage(level.image, j0, i0, j1 - j0, i1 - i0,
      left + j0 * step, top + i0 * step, (j1 - j0) * step, (i1 - i0) * step);
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
  image.getContext("2d").putImageData(new ImageData(bytes, width, height), 0, 0);
  return image;
}
