// A matrix of whole thousandths as a picture.

import { context2d, element } from "../dom.js";
import { cssColor } from "../theme.js";

export const MASKED = -1; // as in attnviz/ui/home/views.py

/** @typedef {number[][]} Matrix thousandths; rows are queries */

/**
 * Paint a matrix into a rectangle; masked cells are hatched.
 * @param {CanvasRenderingContext2D} ctx
 * @param {Matrix} matrix
 * @param {Uint32Array} ramp
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {string} hatch color
 */
export function paintMatrix(ctx, matrix, ramp, box, hatch) {
  const [rows, columns] = [matrix.length, matrix[0].length];
  const at = (/** @type {number} */ i, /** @type {number} */ n, /** @type {number} */ size) => Math.round((i * size) / n);
  ctx.save();
  ctx.translate(Math.round(box.x), Math.round(box.y));
  ctx.fillStyle = cssColor(ramp[0]);
  ctx.fillRect(0, 0, box.width, box.height);
  for (let r = 0; r < rows; r++) {
    const [top, bottom] = [at(r, rows, box.height), at(r + 1, rows, box.height)];
    for (let c = 0; c < columns; c++) {
      const value = matrix[r][c];
      const [left, right] = [at(c, columns, box.width), at(c + 1, columns, box.width)];
      if (value === MASKED) {
        ctx.clearRect(left, top, right - left, bottom - top);
        continue;
      }
      ctx.fillStyle = cssColor(ramp[Math.round((value / 1000) * 255)]);
      ctx.fillRect(left, top, right - left, bottom - top);
    }
  }
  ctx.globalCompositeOperation = "destination-over"; // only where nothing was painted: masked cells
  ctx.strokeStyle = hatch;
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.rect(0, 0, box.width, box.height);
  ctx.clip();
  ctx.beginPath();
  for (let x = -box.height; x < box.width; x += 6) {
    ctx.moveTo(x, box.height);
    ctx.lineTo(x + box.height, 0);
  }
  ctx.stroke();
  ctx.restore();
}

/** A canvas's context, scaled to the screen's pixels. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function contextOf(canvas, width, height) {
  const ratio = Math.max(1, window.devicePixelRatio);
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const ctx = context2d(canvas);
  ctx.scale(ratio, ratio);
  return ctx;
}

/** The ramp between its ends, 0 and 1. @param {Uint32Array} ramp @param {string} label */
export function scaleOf(ramp, label) {
  const canvas = element("canvas", { width: 120, height: 9, role: "img", "aria-label": "color scale from 0 to 1" });
  const ctx = context2d(canvas);
  for (let x = 0; x < 120; x++) {
    ctx.fillStyle = cssColor(ramp[Math.round((x / 119) * 255)]);
    ctx.fillRect(x, 0, 1, 9);
  }
  return element("p", { class: "scale" }, [`${label} 0`, canvas, "1"]);
}
