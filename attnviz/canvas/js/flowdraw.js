// Drawing a flow: steps as frames with arrows between them, and in them matrices with names and scales.

import { shortNumber } from "./codecs.js";
import { context2d } from "./dom.js";
import { FLOW_PAD, FORMULA_LINE, MATRIX_HEAD, PANELS_ACROSS, STEP_HEAD } from "./flowlayout.js";
import { fillMasked } from "./hatch.js";
import { fitted, labelStep } from "./text.js";
import { cssColor } from "./theme.js";

/**
 * @typedef {import("./flow.js").FlowMode} FlowMode
 * @typedef {import("./flowlayout.js").FlowBox} FlowBox
 * @typedef {import("./flowlayout.js").FlowChunk} FlowChunk
 * @typedef {import("./payload.js").FlowMatrixHeader} FlowMatrixHeader
 */

export const FLOW_LABEL = 11; // px
const GRID_FROM = 9; // px a cell: lines between cells
const SCALE_BAR = 44; // px of a color bar
const TIP = 5; // px of an arrow's head

/** The frames, the headings and the arrows. @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode */
export function drawFlow(ctx, mode) {
  const { stage, chunks } = mode;
  chunks.forEach((chunk, i) => {
    drawFrame(ctx, mode, chunk);
    if (i) drawArrow(ctx, mode, chunks[i - 1], chunk);
    for (const box of chunk.boxes) drawMatrix(ctx, mode, box);
  });
  ctx.globalAlpha = 1;
  ctx.fillStyle = stage.theme.text;
}

/** That the picture is not what the controls say. @param {CanvasRenderingContext2D} ctx @param {import("./stage.js").Stage} stage @param {string} text */
export function drawBanner(ctx, stage, text) {
  const { theme } = stage;
  ctx.font = stage.font(13, "600");
  const said = fitted(ctx, text, stage.width - 48);
  const wide = ctx.measureText(said).width + 24;
  const [x, y] = [(stage.width - wide) / 2, stage.top + 36];
  ctx.fillStyle = theme.background;
  ctx.strokeStyle = theme.selected;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  ctx.roundRect(x, y, wide, 30, 6);
  ctx.fill();
  ctx.stroke();
  ctx.fillStyle = theme.text;
  ctx.textAlign = "left";
  ctx.fillText(said, x + 12, y + 15);
}

/** @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowChunk} chunk */
function drawFrame(ctx, { stage, header }, chunk) {
  const { theme } = stage;
  const step = header?.steps[chunk.step];
  if (!step) return;
  const main = step.matrices.some((matrix) => matrix.name === "weights");
  ctx.strokeStyle = main ? theme.primary : theme.border;
  ctx.lineWidth = main ? 1.5 : 1;
  ctx.beginPath();
  ctx.roundRect(chunk.x + 0.5, chunk.y + 0.5, chunk.w - 1, chunk.h - 1, 6);
  ctx.stroke();
  if (!chunk.first) return;
  ctx.textAlign = "left";
  ctx.font = stage.font(12.5, "600");
  ctx.fillStyle = main ? theme.primary : theme.text;
  const title = `${chunk.step + 1} · ${step.title}`;
  const y = chunk.y + STEP_HEAD / 2 + 3;
  ctx.fillText(fitted(ctx, title, chunk.w - 2 * FLOW_PAD), chunk.x + FLOW_PAD, y);
  const used = ctx.measureText(title).width + 10;
  ctx.font = stage.font(FLOW_LABEL);
  ctx.fillStyle = theme.faint;
  const room = chunk.w - 2 * FLOW_PAD - used;
  if (room > 60) ctx.fillText(fitted(ctx, step.line, room), chunk.x + FLOW_PAD + used, y);
}

/** From a step to the next: straight, or around to the next row. @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowChunk} from @param {FlowChunk} to */
function drawArrow(ctx, { stage }, from, to) {
  ctx.strokeStyle = ctx.fillStyle = stage.theme.faint;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  const head = (/** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ down) => {
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(x, y);
    if (down) { ctx.lineTo(x - TIP, y - TIP - 1); ctx.lineTo(x + TIP, y - TIP - 1); }
    else { ctx.lineTo(x - TIP - 1, y - TIP); ctx.lineTo(x - TIP - 1, y + TIP); }
    ctx.closePath();
    ctx.fill();
  };
  if (from.row === to.row) {
    const y = Math.min(from.middle, to.middle);
    ctx.moveTo(from.x + from.w + 4, y);
    ctx.lineTo(to.x - 9, y);
    head(to.x - 4, y, false);
  } else {
    const [x0, x1, middle] = [from.x + from.w - 24, to.x + 24, to.y - 9];
    ctx.moveTo(x0, from.y + from.h);
    ctx.lineTo(x0, middle);
    ctx.lineTo(x1, middle);
    ctx.lineTo(x1, to.y - 4);
    head(x1, to.y - 1, true);
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowBox} box */
function drawMatrix(ctx, mode, box) {
  const { stage } = mode;
  const { theme } = stage;
  const matrix = mode.matrixOf(box);
  if (box.panel === 0) drawMatrixHeading(ctx, mode, box, matrix);
  if (matrix.panels.length) {
    ctx.font = stage.font(10.5, "600");
    ctx.fillStyle = theme.text;
    ctx.textAlign = "left";
    const above = box.panel < PANELS_ACROSS ? columnRoom(mode, matrix) : 4;
    ctx.fillText(fitted(ctx, matrix.panels[box.panel], box.w), box.x, box.y - above - 5);
  }
  if (mode.hasHoles(box)) fillMasked(ctx, theme, box.x, box.y, box.w, box.h);
  ctx.imageSmoothingEnabled = box.w < matrix.size[1] || box.h < matrix.size[0]; // cells below a pixel
  ctx.drawImage(mode.imageOf(box), box.x, box.y, box.w, box.h);
  drawGrid(ctx, box, matrix, theme.background);
  ctx.strokeStyle = theme.border;
  ctx.lineWidth = 1;
  ctx.strokeRect(box.x - 0.5, box.y - 0.5, box.w + 1, box.h + 1);
  if (box.named) drawRowNames(ctx, mode, box, matrix);
  if (box.panel < PANELS_ACROSS) drawColumnNames(ctx, mode, box, matrix);
  // Under the first panel of the last row there is room for it.
  if (box.panel === Math.floor(Math.max(0, matrix.panels.length - 1) / PANELS_ACROSS) * PANELS_ACROSS) drawScale(ctx, mode, box, matrix);
}

/** Px above the cells that their columns' names take. @param {FlowMode} mode @param {FlowMatrixHeader} matrix */
function columnRoom(mode, matrix) {
  return matrix.col === "key" ? mode.measures.columns : 12;
}

/** @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowBox} box @param {FlowMatrixHeader} matrix */
function drawMatrixHeading(ctx, { stage }, box, matrix) {
  const top = box.y - box.head;
  ctx.textAlign = "left";
  ctx.font = stage.font(12, "600");
  ctx.fillStyle = stage.theme.text;
  ctx.fillText(fitted(ctx, matrix.title, box.room), box.x, top + MATRIX_HEAD / 2);
  ctx.font = stage.font(FLOW_LABEL);
  ctx.fillStyle = stage.theme.faint;
  box.lines.forEach((line, i) => ctx.fillText(fitted(ctx, line, box.room), box.x, top + MATRIX_HEAD + (i + 0.5) * FORMULA_LINE));
}

/** @param {CanvasRenderingContext2D} ctx @param {FlowBox} box @param {FlowMatrixHeader} matrix @param {string} color */
function drawGrid(ctx, { x, y, w, h }, { size: [rows, cols] }, color) {
  ctx.strokeStyle = color;
  ctx.lineWidth = 1;
  ctx.beginPath();
  if (w / cols >= GRID_FROM) for (let j = 1; j < cols; j++) line(ctx, Math.round(x + (j * w) / cols) - 0.5, y, 0, h);
  if (h / rows >= GRID_FROM) for (let i = 1; i < rows; i++) line(ctx, x, Math.round(y + (i * h) / rows) - 0.5, w, 0);
  ctx.stroke();
}

/** @param {CanvasRenderingContext2D} ctx @param {number} x @param {number} y @param {number} dx @param {number} dy */
function line(ctx, x, y, dx, dy) {
  ctx.moveTo(x, y);
  ctx.lineTo(x + dx, y + dy);
}

/** @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowBox} box @param {FlowMatrixHeader} matrix */
function drawRowNames(ctx, { stage, measures, namesOf }, box, matrix) {
  const names = namesOf(matrix, "rows");
  const pitch = box.h / names.length;
  const step = labelStep(pitch, FLOW_LABEL + 1);
  ctx.font = stage.font(FLOW_LABEL);
  ctx.fillStyle = stage.theme.text;
  ctx.textAlign = "right";
  for (let i = 0; i < names.length; i += step) {
    ctx.fillText(fitted(ctx, names[i], measures.names - 8), box.x - 5, box.y + (i + 0.5) * pitch);
  }
}

/** Tokens stand upright over their columns; of dimensions, the first and the last. @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowBox} box @param {FlowMatrixHeader} matrix */
function drawColumnNames(ctx, { stage, measures, namesOf }, box, matrix) {
  const names = namesOf(matrix, "cols");
  const pitch = box.w / names.length;
  ctx.font = stage.font(FLOW_LABEL);
  if (matrix.col !== "key") {
    ctx.fillStyle = stage.theme.faint;
    ctx.font = stage.font(10);
    ctx.textAlign = "left";
    ctx.fillText(names[0], box.x, box.y - 7);
    ctx.textAlign = "right";
    if (names.length > 1) ctx.fillText(names[names.length - 1], box.x + box.w, box.y - 7);
    return;
  }
  const step = labelStep(pitch, FLOW_LABEL + 1);
  ctx.fillStyle = stage.theme.text;
  ctx.textAlign = "left";
  for (let j = 0; j < names.length; j += step) {
    ctx.save();
    ctx.translate(box.x + (j + 0.5) * pitch, box.y - 4);
    ctx.rotate(-Math.PI / 2);
    ctx.fillText(fitted(ctx, names[j], measures.columns - 6), 0, 0);
    ctx.restore();
  }
}

/** The range of the colors, and whether there are numbers beyond it. @param {CanvasRenderingContext2D} ctx @param {FlowMode} mode @param {FlowBox} box @param {FlowMatrixHeader} matrix */
function drawScale(ctx, { stage, rampOf }, box, { twoSided, range: [low, high], beyond }) {
  const { theme } = stage;
  const ramp = rampOf(twoSided);
  const y = box.y + box.h + 11;
  let { x } = box;
  ctx.font = stage.font(10);
  ctx.fillStyle = theme.faint;
  ctx.textAlign = "left";
  const write = (/** @type {string} */ text) => {
    ctx.fillText(text, x, y);
    x += ctx.measureText(text).width + 4;
  };
  write(`${beyond ? "≤ " : ""}${shortNumber(low)}`);
  for (let i = 0; i < SCALE_BAR; i++) {
    ctx.fillStyle = cssColor(ramp[Math.round((i / (SCALE_BAR - 1)) * 255)]);
    ctx.fillRect(x + i, y - 3, i < SCALE_BAR - 1 ? 1.5 : 1, 6);
  }
  x += SCALE_BAR + 4;
  ctx.fillStyle = theme.faint;
  write(`${beyond ? "≥ " : ""}${shortNumber(high)}`);
}

/**
 * The cells of one panel as an image, a pixel each; clear where there is no number.
 * @param {HTMLCanvasElement} image @param {(i: number) => number} value NaN for none @param {FlowMatrixHeader} matrix @param {Uint32Array} ramp
 */
export function paintCells(image, value, { size: [rows, cols], range: [low, high] }, ramp) {
  if (image.width !== cols || image.height !== rows) [image.width, image.height] = [cols, rows];
  const ctx = context2d(image);
  const pixels = ctx.createImageData(cols, rows);
  const packed = new Uint32Array(pixels.data.buffer);
  for (let i = 0; i < packed.length; i++) {
    const share = (value(i) - low) / (high - low);
    if (!Number.isNaN(share) && share !== -Infinity) packed[i] = ramp[Math.round(255 * Math.min(1, Math.max(0, share)))];
  }
  ctx.putImageData(pixels, 0, 0);
}

/**
 * A row, a column or a cell of a matrix, outlined.
 * @param {CanvasRenderingContext2D} ctx @param {FlowBox} box @param {FlowMatrixHeader} matrix @param {[number | null, number | null]} at @param {string} color
 */
export function outlineCells(ctx, { x, y, w, h }, { size: [rows, cols] }, [row, col], color) {
  const [dx, dy] = [w / cols, h / rows];
  ctx.strokeStyle = color;
  ctx.lineWidth = row !== null && col !== null ? 2 : 1.5;
  if (row !== null) ctx.strokeRect(x - 1, y + row * dy, w + 2, Math.max(dy, 2));
  if (col !== null) ctx.strokeRect(x + col * dx, y - 1, Math.max(dx, 2), h + 2);
  if (row !== null && col !== null) {
    ctx.lineWidth = 3;
    ctx.strokeRect(x + col * dx, y + row * dy, Math.max(dx, 3), Math.max(dy, 3));
  }
}
