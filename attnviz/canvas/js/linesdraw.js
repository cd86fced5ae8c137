// The picture of the lines view.

import { GRAY } from "./headplaces.js";
import { mix } from "./theme.js";
import { fitted } from "./text.js";

const STRENGTHS = 12; // widths that lines are drawn in
const THINNEST = 0.5; // px of a line of hardly any weight
const THICKEST = 6; // px of a line of weight 1
const FAN = 0.6; // of a token's height, over which its heads' lines end
const RECEDED = 0.08; // opacity of the other heads while one is pointed at
const BAR = 3; // px, for the weights between a token and the solo one
const LONGEST_BAR = 120;
const TEXT = 13;

/** @typedef {import("./lines.js").LinesMode} LinesMode */
/** @typedef {import("./payload.js").Token} Token */
/** @typedef {import("./links.js").LinkHead} LinkHead */
/** @typedef {{color: string, alpha: number, width: number, shift: number, rank: number, lines: number[]}} Group lines of a head of one width */

/** @param {CanvasRenderingContext2D} ctx @param {LinesMode} mode @returns {number} lines drawn */
export function drawLines(ctx, mode) {
  const { stage } = mode;
  const [x0, x1] = [mode._x0, mode._x1];
  const { groups, drawn } = groupsOf(mode);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, stage.top ? 0 : mode._y(0) - mode.row / 2 - 6, stage.width, stage.height);
  ctx.clip();
  for (const { color, alpha, width, shift, lines } of groups) {
    ctx.strokeStyle = color;
    ctx.globalAlpha = alpha;
    ctx.lineWidth = width;
    ctx.beginPath();
    for (const line of lines) {
      ctx.moveTo(x0, mode._y(mode.queries[line]) + shift);
      ctx.lineTo(x1, mode._y(mode.keys[line]) + shift);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  drawTokens(ctx, mode, "row", mode.rows);
  drawTokens(ctx, mode, "col", mode.cols);
  ctx.restore();
  if (!stage.top) {
    ctx.font = stage.font(11);
    ctx.fillStyle = stage.theme.faint;
    ctx.textAlign = "right";
    ctx.fillText("query", x0 - 8, 10);
    ctx.textAlign = "left";
    ctx.fillText("key", x1 + 8, 10);
  }
  return drawn;
}

/** Px of a line's width: in proportion to its weight. @param {number} weight */
export function lineWidth(weight) {
  return THINNEST + Math.min(1, weight) * (THICKEST - THINNEST);
}

/**
 * How far a head's lines are moved down, so that heads fan out at a token instead of lying on each other.
 * @param {number} i the head's place among those shown @param {number} n how many are shown @param {number} row px a token
 */
export function fanShift(i, n, row) {
  return n < 2 ? 0 : (i / (n - 1) - 0.5) * FAN * row;
}

/** Lines in groups of one head and one width: gray heads first, the one in front last. @param {LinesMode} mode */
function groupsOf(mode) {
  const groups = /** @type {Group[]} */ ([]);
  let drawn = 0;
  const visible = mode.visibleLines();
  visible.forEach(({ head, lines }, nth) => {
    const front = head.number === (mode.raised ?? mode.header?.front);
    const faded = mode.raised !== null && !front;
    const gray = mode.places.of(head.number) === GRAY;
    const shift = fanShift(nth, visible.length, mode.row);
    const by = Array.from({ length: STRENGTHS }, () => /** @type {number[]} */ ([]));
    for (const line of lines) {
      const weight = Math.min(1, mode.codec.values[mode.codes[line]]);
      by[Math.min(STRENGTHS - 1, Math.floor(weight * STRENGTHS))].push(line);
    }
    by.forEach((some, i) => {
      const width = lineWidth((i + 0.5) / STRENGTHS);
      if (some.length) groups.push({ color: mode.colorOf(head), alpha: front ? 1 : faded ? RECEDED : 0.75, width, shift, rank: front ? 2 : gray ? 0 : 1, lines: some });
    });
    drawn += lines.length;
  });
  const crowd = Math.max(0.35, Math.min(1, 500 / drawn)); // many lines must not hide each other
  for (const group of groups) group.alpha *= crowd;
  groups.sort((a, b) => a.rank - b.rank || a.width - b.width); // else strong ones on top
  return { groups, drawn };
}

/** @param {CanvasRenderingContext2D} ctx @param {LinesMode} mode @param {Token["side"]} side @param {string[]} names */
function drawTokens(ctx, mode, side, names) {
  const { stage, row: pitch } = mode;
  const { theme } = stage;
  const left = side === "row";
  const [edge, align] = left ? [mode._x0 - 10, "right"] : [mode._x1 + 10, "left"];
  const { solo } = mode;
  const [first, last] = mode._window(names.length);
  const shares = solo && solo.side !== side ? mode.sharesOf(solo) : null;
  const sums = [...(shares?.values() ?? [])].map((parts) => parts.reduce((sum, [, weight]) => sum + weight, 0));
  const most = Math.max(...sums);
  const room = (left ? mode._x0 : stage.width - mode._x1) - 18 - 30;
  for (let i = first; i < last; i++) {
    const y = mode._y(i);
    const chosen = solo?.side === side && solo.index === i;
    if (chosen) {
      ctx.fillStyle = mix(theme.background, theme.selected, 0.2);
      ctx.fillRect(left ? 0 : mode._x1 + 2, y - pitch / 2, left ? mode._x0 - 2 : stage.width - mode._x1, pitch);
    }
    const parts = shares?.get(i);
    if (parts) drawBar(ctx, mode, parts, edge, y + pitch / 2 - BAR - 0.5, Math.min(room, LONGEST_BAR) / most);
    ctx.font = stage.font(TEXT);
    ctx.fillStyle = solo && !chosen && !parts ? theme.faint : theme.text;
    ctx.textAlign = /** @type {CanvasTextAlign} */ (align);
    ctx.fillText(fitted(ctx, names[i], room), edge, y);
    ctx.fillStyle = theme.faint;
    ctx.font = stage.font(10);
    ctx.textAlign = left ? "left" : "right";
    ctx.fillText(String(i), left ? 4 : stage.width - 6, y);
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {LinesMode} mode @param {Token["side"]} side @param {number} index */
export function outlineToken(ctx, mode, side, index) {
  const { stage, row } = mode;
  const [from, to] = side === "row" ? [1, mode._x0 - 2] : [mode._x1 + 2, stage.width - 1];
  ctx.strokeStyle = stage.theme.selected;
  ctx.lineWidth = 2;
  ctx.strokeRect(from, mode._y(index) - row / 2 + 1, to - from, row - 2);
}

/**
 * Under a token, its weights with the solo one: a piece for each head, as long as its weight.
 * @param {CanvasRenderingContext2D} ctx @param {LinesMode} mode @param {[LinkHead, number][]} parts
 * @param {number} edge where its text begins or ends @param {number} y @param {number} scale px a unit of weight
 */
function drawBar(ctx, mode, parts, edge, y, scale) {
  const long = parts.reduce((sum, [, weight]) => sum + weight * scale, 0);
  let x = edge < mode._x0 ? edge - long : edge;
  for (const [head, weight] of parts) {
    ctx.fillStyle = mode.colorOf(head);
    ctx.fillRect(x, y, weight * scale, BAR);
    x += weight * scale;
  }
}
