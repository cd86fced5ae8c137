// Around a map: token names that thin out with the zoom, and the crosshair with its two tokens.

import { fitted, labelStep } from "./stage.js";

export const LABEL = 11; // px
const FLAT_FROM = 60; // px a cell: column names lie level; earlier where they are narrower
const BESIDE = 12; // px between level names

/**
 * @typedef {object} Plot a map and the room around it
 * @property {import("./stage.js").Stage} stage
 * @property {import("./viewport.js").Viewport} view
 * @property {{rowNames: string[], colNames: string[]}} held
 * @property {any} header
 * @property {number} left px of the row names
 * @property {number} head px of the column names
 * @property {number} wide px of most column names
 */

/** @param {CanvasRenderingContext2D} ctx with the plot's corner as origin @param {Plot["view"]} view @param {[number, number]} at @param {string} color */
export function drawOutline(ctx, view, at, color) {
  const size = Math.max(view.cell, 5);
  const [x, y] = view.middle(at);
  ctx.strokeStyle = color;
  ctx.lineWidth = 2;
  ctx.strokeRect(x - size / 2, y - size / 2, size, size);
}

/** @param {CanvasRenderingContext2D} ctx @param {Plot} plot */
export function drawLabels(ctx, plot) {
  const { stage, view, held, header, left, head } = plot;
  const { theme, width, height } = stage;
  const { rows, cols } = view.visible();
  const step = labelStep(view.cell, LABEL + 2);
  const from = (start) => Math.ceil(start / step) * step;
  ctx.font = stage.font(LABEL);
  ctx.fillStyle = theme.text;
  ctx.textAlign = "right";
  for (let i = from(rows[0]); i < rows[1]; i += step) {
    const y = head + view.middle([i, 0])[1];
    if (y < head + 3 || y > height - 3) continue;
    ctx.fillText(fitted(ctx, held.rowNames[i], left - 24), left - 6, y);
  }
  const flat = liesLevel(plot);
  const room = flat ? view.cell - 6 : head - 24;
  for (let j = from(cols[0]); j < cols[1]; j += step) {
    const x = left + view.middle([0, j])[0];
    if (x < left + 3 || x > width - 3) continue;
    ctx.save();
    ctx.translate(x, head - 6);
    if (!flat) ctx.rotate(-Math.PI / 2);
    ctx.textAlign = flat ? "center" : "left";
    ctx.fillText(fitted(ctx, held.colNames[j], room), 0, flat ? -5 : 0);
    ctx.restore();
  }
  ctx.fillStyle = theme.faint;
  ctx.textAlign = "left";
  ctx.fillText(`${header.colTitle ?? "key"} →`, left, 8);
  ctx.translate(8, head);
  ctx.rotate(-Math.PI / 2);
  ctx.textAlign = "right";
  ctx.fillText(`← ${header.rowTitle ?? "query"}`, 0, 0);
}

/** @param {Plot} plot whether column names lie level */
function liesLevel({ view, wide }) {
  return view.cell >= Math.min(FLAT_FROM, wide + BESIDE);
}

/** The token that the page is about: its row or column; both, where keys are the same tokens. */
export function drawFocus(ctx, { stage, view, held, header, left, head }) {
  if (!header.focus) return;
  const [side, at] = header.focus;
  const { rows, cols } = view.visible();
  const thick = Math.max(2, Math.min(view.cell, 16));
  ctx.save();
  ctx.translate(left, head);
  ctx.fillStyle = ctx.strokeStyle = stage.theme.selected;
  const [down, across] = [held.rowNames, held.colNames];
  const both = down.length === across.length && down[at] === across[at];
  if ((both || side === "row") && at >= rows[0] && at < rows[1]) ctx.fillRect(-5, view.middle([at, 0])[1] - thick / 2, 4, thick);
  if ((both || side === "col") && at >= cols[0] && at < cols[1]) ctx.fillRect(view.middle([0, at])[0] - thick / 2, -5, thick, 4);
  ctx.restore();
}

/** @param {CanvasRenderingContext2D} ctx @param {Plot} plot @param {[number, number]} at */
export function drawCrosshair(ctx, plot, at) {
  const { stage, view, held, left, head } = plot;
  const { selected: mark } = stage.theme;
  const [x, y] = view.middle(at);
  const thick = Math.max(1, view.cell);
  ctx.save();
  ctx.translate(left, head);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, view.right, view.bottom);
  ctx.clip();
  ctx.globalAlpha = 0.75;
  ctx.strokeStyle = ctx.fillStyle = mark;
  ctx.lineWidth = 1;
  if (thick > 4) { // the cells between the lines keep their colors
    ctx.strokeRect(-2, y - thick / 2, view.right + 4, thick);
    ctx.strokeRect(x - thick / 2, -2, thick, view.bottom + 4);
  } else {
    ctx.fillRect(0, y - 0.5, view.right, 1);
    ctx.fillRect(x - 0.5, 0, 1, view.bottom);
  }
  ctx.globalAlpha = 1;
  drawOutline(ctx, view, at, mark);
  ctx.restore();
  const flat = liesLevel(plot);
  drawFlag(ctx, stage, held.rowNames[at[0]], -3, y, "row", left - 16);
  drawFlag(ctx, stage, held.colNames[at[1]], x, -3, flat ? "flat" : "col", flat ? 140 : head - 16);
  ctx.restore();
}

/** A token's name at the edge, over the labels that are there. */
function drawFlag(ctx, stage, name, x, y, edge, room) {
  const { theme } = stage;
  ctx.font = stage.font(LABEL + 1, "600");
  const text = fitted(ctx, name, room);
  const width = ctx.measureText(text).width + 10;
  ctx.save();
  ctx.translate(x, y);
  if (edge === "col") ctx.rotate(-Math.PI / 2);
  const [left, top] = { row: [-width, -9], flat: [-width / 2, -19], col: [0, -9] }[edge];
  ctx.fillStyle = theme.selected;
  ctx.fillRect(left, top, width, 18);
  ctx.fillStyle = theme.dark ? "#10151b" : "#ffffff";
  ctx.textAlign = "left";
  ctx.fillText(text, left + 5, top + 9);
  ctx.restore();
}
