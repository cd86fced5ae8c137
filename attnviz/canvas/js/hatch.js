// Slanted lines, which are in no color scale: a masked cell, or a token that the vocabulary does not know.

const HATCH_APART = 6; // px from line to line, along an edge

/**
 * Add the lines of a box to the path. All boxes of a picture share one set of lines.
 * @param {CanvasRenderingContext2D} ctx @param {number} x @param {number} y @param {number} w @param {number} h
 */
export function hatchPath(ctx, x, y, w, h) {
  for (let at = Math.ceil((x + y) / HATCH_APART) * HATCH_APART; at < x + y + w + h; at += HATCH_APART) {
    const [left, right] = [Math.max(x, at - y - h), Math.min(x + w, at - y)]; // the line is x + y = at
    ctx.moveTo(left, at - left);
    ctx.lineTo(right, at - right);
  }
}

/**
 * What masked cells look like, in a box.
 * @param {CanvasRenderingContext2D} ctx @param {import("./theme.js").Theme} theme
 * @param {number} x @param {number} y @param {number} w @param {number} h
 */
export function fillMasked(ctx, theme, x, y, w, h) {
  ctx.fillStyle = theme.background;
  ctx.fillRect(x, y, w, h);
  ctx.strokeStyle = theme.hatch;
  ctx.lineWidth = 1;
  ctx.beginPath();
  hatchPath(ctx, x, y, w, h);
  ctx.stroke();
}
