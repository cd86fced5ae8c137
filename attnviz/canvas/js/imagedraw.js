// The picture of the image view: the image as given, what the model gets, and the tokens beside it.

import { context2d } from "./dom.js";
import { fillMasked } from "./hatch.js";
import { BESIDE_WIDE, gridOnSeen, IMAGE_HEAD, onGiven, patchOnGiven, patchOnSeen } from "./imagelayout.js";
import { patchPercent } from "./imageweights.js";
import { fitted } from "./text.js";

/** @typedef {import("./image.js").ImageMode} ImageMode */
/** @typedef {import("./imagelayout.js").Rect} Rect */

const WORD_FONT = 12; // px
export const WORD_LINE = 16;
const TOKEN_HIGH = 22; // px of a token beside the patches
const TOKENS_APART = 5;
const SEEN_SHARP = 2; // px of a pixel from which pixels are drawn as squares
const LINES_FROM = 7; // px of a patch from which the grid is drawn
const VEIL = 0.62; // over what the model doesn't see

/** RGB bytes as a canvas of their own. @param {Uint8Array} bytes (h, w, 3) @param {number} width @param {number} height */
export function canvasOfBytes(bytes, width, height) {
  const data = new ImageData(width, height);
  for (let i = 0, at = 0; i < data.data.length; i += 4, at += 3) {
    data.data[i] = bytes[at];
    data.data[i + 1] = bytes[at + 1];
    data.data[i + 2] = bytes[at + 2];
    data.data[i + 3] = 255;
  }
  return withPixels(data);
}

/** Packed colors as a canvas of their own. @param {{pixels: Uint32Array, width: number, height: number}} image */
export function canvasOfColors({ pixels, width, height }) {
  const data = new ImageData(width, height);
  new Uint32Array(data.data.buffer).set(pixels);
  return withPixels(data);
}

/** @param {ImageData} data */
function withPixels(data) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [data.width, data.height];
  context2d(canvas).putImageData(data, 0, 0);
  return canvas;
}

/** @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode */
export function drawImages(ctx, mode) {
  const { boxes, stage } = mode;
  if (!boxes) return;
  ctx.save();
  ctx.translate(0, -stage.top);
  if (boxes.given) drawGiven(ctx, mode, boxes.given);
  drawSeen(ctx, mode);
  drawBeside(ctx, mode);
  ctx.font = stage.font(WORD_FONT);
  ctx.fillStyle = stage.theme.faint;
  ctx.textAlign = "left";
  mode.lines.forEach((line, i) => ctx.fillText(line, boxes.words[0], boxes.words[1] + (i + 0.5) * WORD_LINE));
  ctx.restore();
}

/** @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode @param {Rect} at */
function drawGiven(ctx, mode, at) {
  const { place, boxes, stage, given } = mode;
  if (!boxes || !place.size) return;
  const [width, height] = place.size;
  headAbove(ctx, mode, at, "As given", `${width} × ${height} px`);
  const whole = onGiven(place, boxes, [0, 0, width, height]);
  if (!whole) return;
  if (given) drawPixels(ctx, given, whole);
  const frame = place.box && onGiven(place, boxes, place.box);
  if (frame && mode.isFramed) {
    const [x, y, w, h] = frame;
    ctx.save();
    ctx.fillStyle = stage.theme.background;
    ctx.globalAlpha = VEIL;
    const [left, top, right, bottom] = [Math.max(x, whole[0]), Math.max(y, whole[1]), Math.min(x + w, whole[0] + whole[2]), Math.min(y + h, whole[1] + whole[3])];
    ctx.fillRect(whole[0], whole[1], whole[2], top - whole[1]);
    ctx.fillRect(whole[0], bottom, whole[2], whole[1] + whole[3] - bottom);
    ctx.fillRect(whole[0], top, left - whole[0], bottom - top);
    ctx.fillRect(right, top, whole[0] + whole[2] - right, bottom - top);
    ctx.restore();
    ctx.strokeStyle = stage.theme.primary;
    ctx.lineWidth = 2;
    ctx.setLineDash([6, 4]);
    ctx.strokeRect(x + 1, y + 1, w - 2, h - 2);
    ctx.setLineDash([]);
  }
  gridLines(ctx, mode, (row, column) => patchOnGiven(place, boxes, row, column));
  outlinePatch(ctx, mode, mode.query, stage.theme.selected, "given");
}

/** @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode */
function drawSeen(ctx, mode) {
  const { place, boxes, stage, seen } = mode;
  if (!boxes) return;
  const [width, height] = place.input;
  headAbove(ctx, mode, boxes.seen, mode.heading, `The model's input: ${width} × ${height} px`);
  if (seen) drawPixels(ctx, seen, boxes.seen);
  const overlay = mode.overlay();
  if (overlay) {
    ctx.save();
    ctx.globalAlpha = mode.opacity;
    ctx.imageSmoothingEnabled = mode.smooth;
    ctx.drawImage(overlay, ...gridOnSeen(place, boxes));
    ctx.restore();
  }
  for (const token of mode.masked()) {
    const cell = mode.cellOf(token);
    if (cell) fillMasked(ctx, stage.theme, ...patchOnSeen(place, boxes, ...cell));
  }
  gridLines(ctx, mode, (row, column) => patchOnSeen(place, boxes, row, column));
  ctx.strokeStyle = stage.theme.border;
  ctx.lineWidth = 1;
  const [x, y, w, h] = boxes.seen;
  ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
  outlinePatch(ctx, mode, mode.query, stage.theme.selected, "seen");
}

/** @param {CanvasRenderingContext2D} ctx @param {HTMLCanvasElement} image @param {Rect} at */
function drawPixels(ctx, image, at) {
  ctx.save();
  ctx.imageSmoothingEnabled = at[2] / image.width < SEEN_SHARP;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(image, ...at);
  ctx.restore();
}

/** Two lines above a picture. @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode @param {Rect} at @param {string} title @param {string} more */
function headAbove(ctx, { stage }, [x, y, width], title, more) {
  const column = width + 16; // some way into the space between pictures
  ctx.textAlign = "left";
  ctx.font = stage.font(14, "600");
  ctx.fillStyle = stage.theme.text;
  ctx.fillText(fitted(ctx, title, column), x, y - IMAGE_HEAD + 11);
  ctx.font = stage.font(WORD_FONT);
  ctx.fillStyle = stage.theme.faint;
  ctx.fillText(fitted(ctx, more, column), x, y - IMAGE_HEAD + 29);
}

/** @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode @param {(row: number, column: number) => Rect | null} rectOf */
function gridLines(ctx, { place: { grid: [rows, columns] }, stage }, rectOf) {
  const [start, end] = [rectOf(0, 0), rectOf(rows, columns)];
  if (!start || !end || Math.min(start[2], start[3]) < LINES_FROM) return;
  ctx.save();
  ctx.globalAlpha = 0.28;
  ctx.strokeStyle = stage.theme.faint;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let row = 0; row <= rows; row++) {
    const y = Math.round(start[1] + row * start[3]) + 0.5;
    ctx.moveTo(start[0], y);
    ctx.lineTo(end[0], y);
  }
  for (let column = 0; column <= columns; column++) {
    const x = Math.round(start[0] + column * start[2]) + 0.5;
    ctx.moveTo(x, start[1]);
    ctx.lineTo(x, end[1]);
  }
  ctx.stroke();
  ctx.restore();
}

/** @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode @param {number | null} token @param {string} color @param {"given" | "seen"} [on] one of the pictures, or both */
export function outlinePatch(ctx, mode, token, color, on) {
  const { place, boxes } = mode;
  const cell = token === null ? null : mode.cellOf(token);
  if (!cell || !boxes) return;
  const given = on === "seen" ? null : patchOnGiven(place, boxes, ...cell);
  const seen = on === "given" ? null : patchOnSeen(place, boxes, ...cell);
  for (const rect of [given, seen]) {
    if (!rect) continue;
    const [x, y, w, h] = rect;
    ctx.lineWidth = 4; // an edge that is seen on any image
    ctx.strokeStyle = "rgba(0, 0, 0, 0.55)";
    ctx.strokeRect(x, y, w, h);
    ctx.lineWidth = 2;
    ctx.strokeStyle = color;
    ctx.strokeRect(x, y, w, h);
  }
}

/** Where each of n tokens is that stands beside the patches. @param {Rect} room @param {number} n @returns {Rect[]} */
export function tokenRects([x, y, width], n) {
  const most = Math.max(1, Math.floor((width + TOKENS_APART) / (BESIDE_WIDE + TOKENS_APART)));
  const wide = (width + TOKENS_APART) / most - TOKENS_APART;
  return Array.from({ length: n }, (_, i) => [
    x + (i % most) * (wide + TOKENS_APART), y + Math.floor(i / most) * (TOKEN_HIGH + TOKENS_APART), wide, TOKEN_HIGH]);
}

/** Px that they need. @param {number} width @param {number} n */
export function tokensHigh(width, n) {
  const last = tokenRects([0, 0, width, 0], n).at(-1);
  return last ? last[1] + last[3] : 0;
}

/** The tokens that are no patches, with their weights, and the sum of the patches. @param {CanvasRenderingContext2D} ctx @param {ImageMode} mode */
function drawBeside(ctx, mode) {
  const { stage, boxes, row } = mode;
  if (!boxes || !mode.beside.length) return;
  headAbove(ctx, mode, boxes.chips, boxes.chips[1] > IMAGE_HEAD ? "" : "Beside the patches", "");
  const texts = mode.beside.map((token) => [mode.nameOf(token), mode.weightText(token)]);
  const numbers = mode.beside.map((token) => row.weights[token] || 0);
  const rects = tokenRects(boxes.chips, texts.length + 1);
  ctx.font = stage.font(WORD_FONT);
  rects.forEach((rect, i) => {
    const [x, y, w, h] = rect;
    const all = i === texts.length;
    const [name, weight] = all ? ["All patches", patchPercent(row.onPatches)] : texts[i];
    const token = all ? null : mode.beside[i];
    ctx.fillStyle = stage.theme.border;
    ctx.globalAlpha = 0.5;
    ctx.fillRect(x, y + h - 3, w, 3);
    ctx.globalAlpha = 1;
    ctx.fillStyle = stage.theme.primary;
    ctx.fillRect(x, y + h - 3, w * Math.min(1, all ? row.onPatches : numbers[i]), 3);
    ctx.fillStyle = all ? stage.theme.faint : stage.theme.text;
    ctx.textAlign = "left";
    ctx.fillText(fitted(ctx, name, w - 64), x + 2, y + h / 2 - 2);
    ctx.fillStyle = stage.theme.text;
    ctx.textAlign = "right";
    ctx.fillText(weight, x + w - 2, y + h / 2 - 2);
    if (token !== null && token === mode.query) outlineBeside(ctx, rect, stage.theme.selected);
  });
}

/** @param {CanvasRenderingContext2D} ctx @param {Rect} rect @param {string} color */
export function outlineBeside(ctx, [x, y, w, h], color) {
  ctx.strokeStyle = color;
  ctx.lineWidth = 2;
  ctx.strokeRect(x - 2, y - 2, w + 4, h + 3);
}

/** Words in lines that fit. @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} room px @returns {string[]} */
export function linesThatFit(ctx, text, room) {
  /** @type {string[]} */
  const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line ? `${line} ${word}` : word;
    if (line && ctx.measureText(longer).width > room) {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return line ? [...lines, line] : lines;
}
