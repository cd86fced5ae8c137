// Where each head's thumbnail goes: by layer, or in the order of a number.

import { shortNumber } from "./numbers.js";

const GAP = 4;
const MARGIN = 34; // px, for the layers' numbers
const HEADING = 22;
const LEAST = 30; // px a thumbnail
const MOST = 112;
const KINDS = { encoder: "Encoder self-attention", decoder: "Decoder self-attention", cross: "Cross-attention" };

/**
 * @typedef {object} Head
 * @property {number} layer
 * @property {number} head
 * @property {any} block its layer
 * @property {number} at where its cells begin
 * @property {Float32Array} numbers its metrics
 * @property {number} x @property {number} y @property {number} w @property {number} h
 * @property {boolean} faded not in the filter
 * @property {HTMLCanvasElement | null} image
 */

/**
 * @typedef {{x: number, y: number, text: string, align?: CanvasTextAlign, strong?: boolean, room?: number}} Mark
 * @typedef {{shown: Head[], headings: Mark[], marks: Mark[], content: number}} Placed
 */

/**
 * Kinds of attention one below the other; layers in rows, or in columns where that leaves more room
 * for each head.
 * @param {Head[]} heads @param {any[]} blocks the layers @param {number} width @param {number} height
 * @returns {Placed}
 */
export function placeByLayer(heads, blocks, width, height) {
  const kinds = [...new Set(blocks.map((b) => b.kind))];
  const placed = /** @type {Placed} */ ({ shown: [], headings: [], marks: [], content: 0 });
  for (const kind of kinds) {
    const layers = blocks.filter((b) => b.kind === kind);
    placeKind(placed, heads, layers, width, height / kinds.length - HEADING - 16);
  }
  return placed;
}

/** One kind's layers, below what is placed. */
function placeKind(placed, heads, layers, width, room) {
  const most = Math.max(1, ...layers.map((b) => b.heads ?? 0));
  const wide = width - MARGIN - 6;
  const sizeOf = (across, down) => Math.min(wide / across, Math.max(room / down, LEAST + GAP)) - GAP;
  const upright = sizeOf(most, layers.length);
  const turned = sizeOf(layers.length, most) > upright;
  const side = Math.floor(Math.max(LEAST, Math.min(MOST, turned ? sizeOf(layers.length, most) : upright)));
  const perLine = Math.max(1, Math.floor(wide / (side + GAP)));
  const tallest = Math.max(...layers.map((b) => (b.heads ? Math.min(1, b.rows / b.cols) : 0)), 0.2);
  const pitch = Math.max(16, Math.round(side * tallest)) + GAP;
  const order = turned ? "layers →, heads ↓" : "layers ↓, heads →";
  placed.headings.push({ x: 2, y: placed.content + HEADING / 2, text: `${KINDS[layers[0].kind]} · ${order}` });
  const top = placed.content + HEADING + 14;
  const column = (i) => MARGIN + i * (side + GAP);
  const middle = (line) => top + line * pitch + pitch / 2 - 2;
  const place = (head, i, line) => {
    [head.x, head.y] = [column(i), top + line * pitch];
    fillSquare(head, side);
    placed.shown.push(head);
  };
  let lines = 0;
  layers.forEach((block, n) => {
    const own = heads.filter((h) => h.block === block);
    if (turned) {
      const from = Math.floor(n / perLine) * (most + 0.5);
      own.forEach((head, i) => place(head, n % perLine, from + i));
      placed.marks.push({ x: column(n % perLine) + side / 2, y: top + from * pitch - 7, text: String(n), align: "center" });
      lines = Math.max(lines, from + most);
      return;
    }
    own.forEach((head, i) => place(head, i % perLine, lines + Math.floor(i / perLine)));
    placed.marks.push({ x: MARGIN - 8, y: middle(lines), text: String(n), align: "right" });
    if (!own.length) placed.marks.push({ x: MARGIN, y: middle(lines), text: `not shown: ${block.reason}`, align: "left" });
    lines += Math.max(1, Math.ceil(own.length / perLine));
  });
  for (let h = 0; h < (turned ? most : Math.min(most, perLine)); h++) {
    placed.marks.push(turned
      ? { x: MARGIN - 8, y: middle(h), text: String(h), align: "right" }
      : { x: column(h) + side / 2, y: top - 7, text: String(h), align: "center" });
  }
  placed.content = top + lines * pitch + 10;
}

/**
 * Heads that are in the filter, in the order of a metric.
 * @param {Head[]} heads @param {number} metric @param {boolean} down highest first
 * @param {number} width @param {number} height
 * @returns {Placed}
 */
export function placeByNumber(heads, metric, down, width, height) {
  const number = (h) => h.numbers[metric];
  const shown = heads.filter((h) => !h.faded && Number.isFinite(number(h)))
    .sort((a, b) => (down ? number(b) - number(a) : number(a) - number(b)) || a.layer - b.layer || a.head - b.head);
  const wide = width - 8;
  const below = 36; // px, two lines of text and a gap
  let side = 72;
  for (let s = MOST; s >= 56; s -= 4) {
    side = s;
    if (Math.ceil(shown.length / Math.floor(wide / (s + 10))) * (s + below) <= height) break;
  }
  const perLine = Math.max(1, Math.floor(wide / (side + 10)));
  const marks = /** @type {Mark[]} */ ([]);
  shown.forEach((head, i) => {
    head.x = 4 + (i % perLine) * (side + 10);
    head.y = 4 + Math.floor(i / perLine) * (side + below);
    fillSquare(head, side);
    marks.push({ x: head.x, y: head.y + side + 9, text: `${head.block.short} H${head.head}`, align: "left", room: side });
    marks.push({ x: head.x, y: head.y + side + 22, text: shortNumber(number(head)), align: "left", strong: true });
  });
  return { shown, headings: [], marks, content: 8 + Math.ceil(shown.length / perLine) * (side + below) };
}

/** A thumbnail keeps its map's shape inside its square. @param {Head} head @param {number} side */
function fillSquare(head, side) {
  const { rows, cols } = head.block;
  head.w = Math.max(6, Math.round(side * Math.min(1, cols / rows)));
  head.h = Math.max(6, Math.round(side * Math.min(1, rows / cols)));
}
