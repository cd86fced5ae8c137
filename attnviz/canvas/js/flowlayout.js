// Where the matrices of a flow stand: steps side by side as far as the width goes, then the next row.

/**
 * @typedef {import("./payload.js").FlowMatrixHeader} FlowMatrixHeader
 * @typedef {import("./payload.js").FlowStepHeader} FlowStepHeader
 */

/**
 * One panel of a matrix.
 * @typedef {object} FlowBox
 * @property {number} step @property {number} matrix its index in the step @property {number} panel
 * @property {number} x @property {number} y @property {number} w @property {number} h of the cells, px
 * @property {boolean} named whether the names of the rows stand left of it
 * @property {number} head px from the heading's top to the cells
 * @property {number} room px that the heading has
 * @property {string[]} lines of the formula
 */

/**
 * A step, or the part of one that a row has room for.
 * @typedef {{step: number, first: boolean, row: number, x: number, y: number, w: number, h: number, middle: number, boxes: FlowBox[]}} FlowChunk
 */

/**
 * @typedef {object} FlowMeasures
 * @property {number} names px of the rows' names
 * @property {number} columns px of the columns' names, where they are tokens
 * @property {(text: string, room: number) => string[]} wrap a formula, in at most two lines
 */

/** How large everything is. @typedef {{cell: number, tall: number, least: number, measures: FlowMeasures}} Form */

export const FLOW_PAD = 9; // px inside a step
export const STEP_HEAD = 22; // a step's heading
export const MATRIX_HEAD = 16; // a matrix's title
export const FORMULA_LINE = 13;
export const FLOW_LEGEND = 17; // below the cells
export const PANELS_ACROSS = 4; // heads in a row
const PANEL_HEAD = 14;
const TICKS = 13; // numbers of the first and the last dimension
const BETWEEN = 16; // matrices
const ARROW_ROOM = 30; // between steps
const GUTTER = 16; // between rows: an arrow goes through it
const LEAST_ROOM = 92; // of a heading
const EMPHASIS = 1.25; // of the weights
const PANEL_SCALE = 0.62; // of one head among several

/** Cells of a token's size that vectors are wide, however many dimensions they have: no slider moves the layout. @type {Record<string, number>} */
const UNITS = { d_model: 11, d_head: 5, concat: 11, hidden: 15, sink: 1, bias: 1 };

const SMALLEST = 4; // px a cell
const LARGEST = 26;
const ROOMY_CELL = 20;
const TALLER = 1.7; // than wide, at most
const NARROW_FLOW = 700; // px: with less, steps stand closer together

/**
 * Cells as large as fit into a height, and not smaller than can be read.
 * @param {FlowStepHeader[]} steps @param {number} width @param {number} height @param {number} tokens of the longer text @param {FlowMeasures} measures
 */
export function fittedFlow(steps, width, height, tokens, measures) {
  const least = tokens <= 16 ? 11 : tokens <= 32 ? 8 : SMALLEST;
  let made = flowLayout(steps, width, LARGEST, measures);
  for (let cell = LARGEST - 1; cell >= least && made.height > height; cell--) made = flowLayout(steps, width, cell, measures);
  if (made.height > height) return roomy(steps, width, made, measures);
  const { cell } = made;
  for (let tall = Math.min(LARGEST, Math.round(TALLER * cell)); tall > cell; tall--) { // what height is left
    const taller = flowLayout(steps, width, cell, measures, tall);
    if (taller.height <= height) return taller;
  }
  return made;
}

/**
 * The page has to scroll: cells as large as the rows have room for.
 * @param {FlowStepHeader[]} steps @param {number} width @param {{chunks: FlowChunk[], height: number, cell: number}} made @param {FlowMeasures} measures
 */
function roomy(steps, width, made, measures) {
  const rows = (/** @type {FlowChunk[]} */ chunks) => chunks[chunks.length - 1].row;
  for (let cell = ROOMY_CELL; cell > made.cell; cell--) {
    const larger = flowLayout(steps, width, cell, measures);
    if (rows(larger.chunks) <= rows(made.chunks)) return larger;
  }
  return made;
}

/**
 * @param {FlowStepHeader[]} steps @param {number} width px @param {number} cell px a token is wide @param {FlowMeasures} measures @param {number} [tall] px it is high
 * @returns {{chunks: FlowChunk[], height: number, cell: number}}
 */
export function flowLayout(steps, width, cell, measures, tall = cell) {
  /** @type {Form} */
  const form = { cell, tall, least: width < NARROW_FLOW ? 76 : LEAST_ROOM, measures };
  const arrow = width < NARROW_FLOW ? 20 : ARROW_ROOM;
  const chunks = steps.flatMap((step, i) => chunksOf(step, i, width, form));
  let [row, x, top] = [0, 0, 0];
  for (let start = 0; start < chunks.length; row++) {
    let stop = start;
    for (x = 0; stop < chunks.length && (stop === start || x + chunks[stop].w <= width); stop++) x += chunks[stop].w + arrow;
    const inRow = chunks.slice(start, stop);
    place(inRow, row, top, Math.max(0, width - x + arrow), arrow);
    top += Math.max(...inRow.map((chunk) => chunk.h)) + GUTTER;
    start = stop;
  }
  return { chunks, height: Math.max(0, top - GUTTER), cell };
}

/** Put the chunks of a row beside each other; what is left of the width goes between them. @param {FlowChunk[]} chunks @param {number} row @param {number} top @param {number} left px @param {number} arrow px */
function place(chunks, row, top, left, arrow) {
  const height = Math.max(...chunks.map((chunk) => chunk.h));
  const more = chunks.length > 1 ? Math.min(left / (chunks.length - 1), 2 * ARROW_ROOM) : 0;
  let x = 0;
  for (const chunk of chunks) {
    Object.assign(chunk, { row, x, y: top, h: height });
    for (const box of chunk.boxes) {
      box.x += x;
      box.y += top;
    }
    const [first] = chunk.boxes;
    chunk.middle = first.y + first.h / 2;
    x += chunk.w + arrow + more;
  }
}

/**
 * A step, cut where it is wider than the page.
 * @param {FlowStepHeader} step @param {number} index @param {number} width @param {Form} form
 * @returns {FlowChunk[]} at the origin
 */
function chunksOf({ matrices }, index, width, form) {
  /** @type {number[][]} */
  const groups = [[]];
  let used = 2 * FLOW_PAD;
  matrices.forEach((matrix, m) => {
    const last = groups[groups.length - 1];
    const wide = (/** @type {FlowMatrixHeader | undefined} */ before) =>
      slotOf(matrix, form) + BETWEEN + (hasNames(matrix, before) ? form.measures.names : 0);
    const here = wide(matrices[last[last.length - 1]]);
    if (last.length && used + here - BETWEEN > width) {
      groups.push([m]);
      used = 2 * FLOW_PAD + wide(undefined);
    } else {
      last.push(m);
      used += here;
    }
  });
  return groups.map((group, g) => chunkOf(matrices, group, index, g === 0, form));
}

/** @param {FlowMatrixHeader[]} matrices @param {number[]} group @param {number} step @param {boolean} first @param {Form} form @returns {FlowChunk} */
function chunkOf(matrices, group, step, first, form) {
  const { measures } = form;
  const shown = group.map((m) => matrices[m]);
  const lines = shown.map((matrix) => measures.wrap(matrix.formula, slotOf(matrix, form)));
  const head = MATRIX_HEAD + FORMULA_LINE * Math.max(...lines.map((l) => l.length)) +
    Math.max(...shown.map((matrix) => (matrix.col === "key" ? measures.columns : TICKS))) + (shown.some((m) => m.panels.length) ? PANEL_HEAD : 0);
  /** @type {FlowBox[]} */
  const boxes = [];
  let [x, below] = [FLOW_PAD, 0];
  group.forEach((m, i) => {
    const matrix = matrices[m];
    const [w, h] = panelSize(matrix, form);
    const named = hasNames(matrix, shown[i - 1]);
    if (named) x += measures.names;
    const across = acrossOf(matrix);
    const count = Math.max(1, matrix.panels.length);
    for (let panel = 0; panel < count; panel++) {
      const [r, c] = [Math.floor(panel / across), panel % across];
      boxes.push({
        step, matrix: m, panel, w, h, named: named && c === 0, head, lines: lines[i], room: slotOf(matrix, form),
        x: x + c * (w + BETWEEN / 2), y: STEP_HEAD + head + r * (h + PANEL_HEAD),
      });
    }
    const tall = Math.ceil(count / across) * (h + PANEL_HEAD) - PANEL_HEAD;
    below = Math.max(below, STEP_HEAD + head + tall);
    x += slotOf(matrix, form) + BETWEEN;
  });
  return { step, first, row: 0, x: 0, y: 0, w: x - BETWEEN + FLOW_PAD, h: below + FLOW_LEGEND + FLOW_PAD - 2, middle: 0, boxes };
}

/** Whether the names of its rows stand beside it: not if they stand left of it already. @param {FlowMatrixHeader} matrix @param {FlowMatrixHeader | undefined} before */
function hasNames(matrix, before) {
  if (matrix.row === "bias") return false;
  return !before || before.rows !== matrix.rows || before.size[0] !== matrix.size[0];
}

/** Panels in a row. @param {FlowMatrixHeader} matrix */
function acrossOf({ panels }) {
  return Math.min(PANELS_ACROSS, Math.max(1, panels.length));
}

/** Px of a matrix and its heading. @param {FlowMatrixHeader} matrix @param {Form} form */
function slotOf(matrix, form) {
  const across = acrossOf(matrix);
  return Math.max(form.least, across * panelSize(matrix, form)[0] + ((across - 1) * BETWEEN) / 2);
}

/** Px of one panel's cells. @param {FlowMatrixHeader} matrix @param {Form} form @returns {[number, number]} */
function panelSize({ size: [rows, cols], row, col, panels, name }, { cell, tall }) {
  const scale = panels.length > 1 ? PANEL_SCALE : name === "weights" ? EMPHASIS : 1;
  const wide = (col === "key" ? cols : UNITS[col]) * cell * scale;
  return [Math.max(12, Math.round(wide)), Math.round((row in UNITS ? UNITS[row] : rows) * tall * scale)];
}

/** The box at a point of the content. @param {FlowChunk[]} chunks @param {number} x @param {number} y */
export function boxAt(chunks, x, y) {
  for (const chunk of chunks) {
    for (const box of chunk.boxes) if (x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h) return box;
  }
  return null;
}
