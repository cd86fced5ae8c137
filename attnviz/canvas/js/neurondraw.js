// The picture of the neuron view: strips of numbers as colors, and what they add up to.

import { MASKED } from "./codecs.js";
import { cssColor } from "./theme.js";
import { fitted } from "./text.js";

export const LINE = 22; // px a key
export const HEAD = 92; // px above the keys: titles, ranges, and q itself
const BAR_HIGH = 3;

/** @typedef {import("./neuron.js").NeuronMode} NeuronMode */
/** @typedef {import("./payload.js").NeuronHeader} NeuronHeader */
/** @typedef {import("./theme.js").Theme} Theme */
/** @typedef {{most: number, beyond: boolean}} Range of numbers around zero; some may lie beyond it */

/** @param {CanvasRenderingContext2D} ctx @param {NeuronMode} mode @param {NeuronHeader} header */
export function drawNeuron(ctx, mode, header) {
  const { theme, top, width, height } = mode.stage;
  const first = Math.max(0, Math.floor(top / LINE));
  const last = Math.min(mode.shown.length, Math.ceil((top + height - HEAD) / LINE));
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, HEAD, width, height - HEAD);
  ctx.clip();
  for (let row = first; row < last; row++) drawKey(ctx, mode, row, HEAD + row * LINE - top);
  ctx.restore();
  drawHeading(ctx, mode, header);
  ctx.fillStyle = theme.border;
  ctx.fillRect(0, HEAD - 1, width, 1);
}

/** Titles, what the colors mean, and the query's own numbers. @param {CanvasRenderingContext2D} ctx @param {NeuronMode} mode @param {NeuronHeader} header */
function drawHeading(ctx, mode, header) {
  const { stage, kx, px, strip } = mode;
  const { theme } = stage;
  ctx.font = stage.font(12, "600");
  ctx.fillStyle = theme.text;
  ctx.textAlign = "left";
  const whole = (/** @type {string} */ text, /** @type {string} */ otherwise) => (ctx.measureText(text).width <= strip ? text : fitted(ctx, otherwise, strip));
  ctx.fillText(whole(`k of each key, ${mode.width} dimensions`, "k of each key"), kx, 12);
  ctx.fillText(whole("q∘k, elementwise", "q∘k"), px, 12);
  ctx.textAlign = "right";
  ["Σ q∘k", "score", "weight"].forEach((title, i) => ctx.fillText(title, edgesOf(mode)[i][1], 12));
  drawRange(ctx, mode, kx, mode.vectors);
  drawRange(ctx, mode, px, mode.products);
  ctx.font = stage.font(13, "600");
  ctx.fillStyle = theme.text;
  ctx.textAlign = "right";
  ctx.fillText(fitted(ctx, `q · ${header.rowNames[mode.query]}`, mode.names - 4), mode.names + 4, HEAD - 22);
  drawStrip(ctx, mode, kx, HEAD - 33, 22, (i) => mode.qAt(i), mode.vectors);
}

/** The colors with the numbers at their ends. @param {CanvasRenderingContext2D} ctx @param {NeuronMode} mode @param {number} x @param {Range} range */
function drawRange(ctx, { stage, strip }, x, { most, beyond }) {
  const ends = [`${beyond ? "≤ " : ""}−${short(most)}`, `${beyond ? "≥ " : ""}${short(most)}`];
  ctx.font = stage.font(11);
  ctx.fillStyle = stage.theme.faint;
  ctx.textAlign = "left";
  const [low, high] = ends.map((text) => ctx.measureText(text).width);
  const wide = Math.min(96, strip - low - high - 12);
  if (wide < 16) return;
  ctx.fillText(ends[0], x, 31);
  ctx.fillText(ends[1], x + low + wide + 12, 31);
  const { diverging } = stage.theme;
  for (let i = 0; i < wide; i++) {
    ctx.fillStyle = cssColor(diverging[Math.round((i / (wide - 1)) * 255)]);
    ctx.fillRect(x + low + 6 + i, 26, 1.5, 9);
  }
}

/** @param {number} value */
function short(value) {
  return String(Number(value.toPrecision(3)));
}

/** Left and right of the three columns of figures. @param {NeuronMode} mode @returns {[number, number][]} */
function edgesOf({ fx, figures }) {
  const third = figures / 3;
  return [0, 1, 2].map((i) => [fx + i * third + 6, fx + (i + 1) * third - 6]);
}

/** A key's line. @param {CanvasRenderingContext2D} ctx @param {NeuronMode} mode @param {number} row @param {number} y */
function drawKey(ctx, mode, row, y) {
  const { stage } = mode;
  const { theme } = stage;
  const j = mode.shown[row];
  const [at, name] = mode.keyName(j);
  const { dot, code } = mode.pair(j);
  const texts = mode.texts(j);
  const masked = code === MASKED;
  const middle = y + LINE / 2;
  ctx.globalAlpha = masked ? 0.35 : 1;
  ctx.font = stage.font(13);
  ctx.fillStyle = theme.text;
  ctx.textAlign = "right";
  ctx.fillText(fitted(ctx, name, mode.names - 34), mode.names + 4, middle);
  ctx.font = stage.font(10);
  ctx.fillStyle = theme.faint;
  ctx.textAlign = "left";
  ctx.fillText(String(at), 2, middle);
  drawStrip(ctx, mode, mode.kx, y + 2, LINE - 4, (i) => mode.kAt(j, i), mode.vectors);
  drawStrip(ctx, mode, mode.px, y + 2, LINE - 4, (i) => mode.qAt(i) * mode.kAt(j, i), mode.products);
  const [sum, score, weight] = edgesOf(mode);
  const half = (sum[1] - sum[0]) / 2;
  drawBarOn(ctx, theme, sum, y, sum[0] + half, (dot / mode.dotMost) * half, colorOf(theme, Math.sign(dot) * 0.6));
  if (!masked) {
    const share = Math.min(1, mode.codec.values[code] || 0);
    drawBarOn(ctx, theme, weight, y, weight[0], share * (weight[1] - weight[0]), cssColor(theme.sequential[150]));
  }
  ctx.font = stage.font(12);
  ctx.fillStyle = theme.text;
  ctx.textAlign = "right";
  ctx.fillText(texts.dot, sum[1], middle - 1);
  ctx.fillText(texts.score, score[1], middle - 1);
  ctx.fillText(texts.weight, weight[1], middle - 1);
  ctx.globalAlpha = 1;
}

/**
 * A figure's size as a bar under it, on a line as long as the largest possible.
 * @param {CanvasRenderingContext2D} ctx @param {Theme} theme @param {[number, number]} column left and right
 * @param {number} y @param {number} from @param {number} length px @param {string} color
 */
function drawBarOn(ctx, theme, [left, right], y, from, length, color) {
  ctx.fillStyle = theme.border;
  ctx.fillRect(left, y + LINE - BAR_HIGH, right - left, 1);
  ctx.fillStyle = color;
  ctx.fillRect(Math.min(from, from + length), y + LINE - BAR_HIGH - 1, Math.abs(length), BAR_HIGH);
}

/**
 * Numbers as colors side by side.
 * @param {CanvasRenderingContext2D} ctx @param {NeuronMode} mode @param {number} x @param {number} y
 * @param {number} height @param {(i: number) => number} read @param {Range} range
 */
function drawStrip(ctx, { stage, strip, width }, x, y, height, read, { most }) {
  const each = strip / width;
  for (let i = 0; i < width; i++) {
    ctx.fillStyle = colorOf(stage.theme, read(i) / most);
    ctx.fillRect(x + i * each, y, each + (each < 3 ? 0.5 : -0.5), height);
  }
}

/** @param {Theme} theme @param {number} share −1 to 1 */
function colorOf(theme, share) {
  return cssColor(theme.diverging[Math.round((Math.max(-1, Math.min(1, share)) + 1) * 127.5)]);
}

/** What is hovered: a key's line, and one dimension in both strips. @param {CanvasRenderingContext2D} ctx @param {NeuronMode} mode @param {import("./neuron.js").NeuronItem} item */
export function drawNeuronOver(ctx, mode, { row, index }) {
  const { stage, strip, width, kx, px } = mode;
  ctx.strokeStyle = stage.theme.selected;
  ctx.lineWidth = 1.5;
  if (row !== null) {
    const y = HEAD + row * LINE - stage.top;
    if (y < HEAD - LINE / 2) return;
    ctx.strokeRect(1, y + 0.5, stage.width - 2, LINE - 1);
  }
  if (index >= 0) {
    const each = strip / width;
    for (const x of [kx, px]) {
      ctx.strokeRect(x + index * each, HEAD - 34, Math.max(each, 2), stage.height - HEAD + 32);
    }
  }
}

/** @param {number} value */
export function figure(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.001 && size < 10_000 ? value.toPrecision(4) : value.toExponential(3);
}
