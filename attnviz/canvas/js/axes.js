// Around a map: token names that thin out with the zoom, and the crosshair with its two tokens.

import { fitted, labelStep, sampledWidths } from "./text.js";
import { inkOn } from "./theme.js";

export const LABEL = 11; // px
const FLAT_FROM = 60; // px a cell: column names are horizontal; earlier if they are narrower
const LONG_NAME = 96; // px
const BESIDE = 12; // px between horizontal names

/**
 * @typedef {import("./map.js").MapMode} MapMode
 * @typedef {import("./payload.js").Cell} Cell
 * @typedef {import("./payload.js").Side} Side
 * @typedef {{rowNames: string[], colNames: string[]}} Names
 */

/**
 * Px for names along an edge: enough for nine of ten, within limits; and what the longest one lacks.
 * @param {CanvasRenderingContext2D} ctx @param {string[]} names
 */
export function roomForLabels(ctx, names) {
  const widths = sampledWidths(ctx, names, 200);
  const room = Math.max(24, Math.min(LONG_NAME, widths[Math.floor(0.9 * (widths.length - 1))]));
  return { room, lacking: Math.max(0, (widths.at(-1) ?? 0) + 2 - room) };
}

/** @param {CanvasRenderingContext2D} ctx with the plot's corner as origin @param {MapMode["view"]} view @param {Cell} at @param {string} color */
export function drawOutline(ctx, view, at, color) {
  const [wide, tall] = [Math.max(view.cell, 5), Math.max(view.tall, 5)];
  const [x, y] = view.middle(at);
  ctx.strokeStyle = color;
  ctx.lineWidth = 2;
  ctx.strokeRect(x - wide / 2, y - tall / 2, wide, tall);
}

/** @param {CanvasRenderingContext2D} ctx @param {MapMode} map @param {import("./payload.js").MapHeader} header @param {Names} names */
export function drawLabels(ctx, map, header, { rowNames, colNames }) {
  const { stage, view, left, head } = map;
  const { theme, width, height } = stage;
  const { rows, cols } = view.visible();
  const [rowStep, step] = [labelStep(view.tall, LABEL + 2), labelStep(view.cell, LABEL + 2)];
  const from = (/** @type {number} */ start, /** @type {number} */ each) => Math.ceil(start / each) * each;
  ctx.font = stage.font(LABEL);
  ctx.fillStyle = theme.text;
  ctx.textAlign = "right";
  for (let i = from(rows[0], rowStep); i < rows[1]; i += rowStep) {
    const y = head + view.middle([i, 0])[1];
    if (y < head + 3 || y > height - 3) continue;
    ctx.fillText(fitted(ctx, rowNames[i], left - 24), left - 6, y);
  }
  const flat = areLevel(map);
  const room = flat ? view.cell - 6 : head - 24;
  for (let j = from(cols[0], step); j < cols[1]; j += step) {
    const x = left + view.middle([0, j])[0];
    if (x < left + 3 || x > width - 3) continue;
    ctx.save();
    ctx.translate(x, head - 6);
    if (!flat) ctx.rotate(-Math.PI / 2);
    ctx.textAlign = flat ? "center" : "left";
    ctx.fillText(fitted(ctx, colNames[j], room), 0, flat ? -5 : 0);
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

/** Whether column names are horizontal. @param {MapMode} map */
function areLevel({ view, wide }) {
  return view.cell >= Math.min(FLAT_FROM, wide + BESIDE);
}

/**
 * The focused token: its row or column; both, if queries and keys are the same tokens.
 * @param {CanvasRenderingContext2D} ctx @param {MapMode} map @param {[Side, number]} focus @param {Names} names
 */
export function drawFocus(ctx, { stage, view, left, head }, [side, at], { rowNames, colNames }) {
  const { rows, cols } = view.visible();
  const [wide, tall] = [view.cell, view.tall].map((size) => Math.max(2, Math.min(size, 16)));
  ctx.save();
  ctx.translate(left, head);
  ctx.fillStyle = ctx.strokeStyle = stage.theme.selected;
  const both = rowNames.length === colNames.length && rowNames[at] === colNames[at];
  if ((both || side === "row") && at >= rows[0] && at < rows[1]) ctx.fillRect(-5, view.middle([at, 0])[1] - tall / 2, 4, tall);
  if ((both || side === "col") && at >= cols[0] && at < cols[1]) ctx.fillRect(view.middle([0, at])[0] - wide / 2, -5, wide, 4);
  ctx.restore();
}

/**
 * A cell's row and column; one of them alone where the other is null.
 * @param {CanvasRenderingContext2D} ctx @param {MapMode} map @param {[number | null, number | null]} at @param {Names} names
 */
export function drawCrosshair(ctx, map, [row, col], { rowNames, colNames }) {
  const { stage, view, left, head } = map;
  const mark = stage.theme.selected;
  const [x, y] = view.middle([row ?? 0, col ?? 0]);
  const inRows = row !== null && y >= 0 && y <= view.bottom;
  const inCols = col !== null && x >= 0 && x <= view.right;
  const [wide, tall] = [Math.max(1, view.cell), Math.max(1, view.tall)];
  ctx.save();
  ctx.translate(left, head);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, view.right, view.bottom);
  ctx.clip();
  ctx.globalAlpha = 0.75;
  ctx.strokeStyle = ctx.fillStyle = mark;
  ctx.lineWidth = 1;
  if (Math.min(wide, tall) > 4) { // the cells between the lines keep their colors
    if (inRows) ctx.strokeRect(-2, y - tall / 2, view.right + 4, tall);
    if (inCols) ctx.strokeRect(x - wide / 2, -2, wide, view.bottom + 4);
  } else {
    if (inRows) ctx.fillRect(0, y - 0.5, view.right, 1);
    if (inCols) ctx.fillRect(x - 0.5, 0, 1, view.bottom);
  }
  ctx.globalAlpha = 1;
  if (row !== null && col !== null) drawOutline(ctx, view, [row, col], mark);
  ctx.restore();
  const flat = areLevel(map);
  if (inRows) drawFlag(ctx, stage, rowNames[row], -3, y, "row", left - 16);
  if (inCols) drawFlag(ctx, stage, colNames[col], x, -3, flat ? "flat" : "col", flat ? 140 : head - 16);
  ctx.restore();
}

/**
 * A token's name at the edge, over the labels.
 * @param {CanvasRenderingContext2D} ctx @param {MapMode["stage"]} stage @param {string} name
 * @param {number} x @param {number} y @param {"row" | "flat" | "col"} edge @param {number} room px
 */
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
  ctx.fillStyle = inkOn(theme.dark); // the mark is bright on a dark page
  ctx.textAlign = "left";
  ctx.fillText(text, left + 5, top + 9);
  ctx.restore();
}
