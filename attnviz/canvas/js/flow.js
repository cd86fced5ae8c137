// A layer as a flow: every matrix from its input to its output. A token hovered in one is lit in all.

import { context2d } from "./dom.js";
import { drawBanner, drawFlow, FLOW_LABEL, outlineCells, paintCells } from "./flowdraw.js";
import { boxAt, fittedFlow, STEP_HEAD } from "./flowlayout.js";
import { litCells, tokensOfCell } from "./hoverlink.js";
import { arrowKeys, Mode } from "./mode.js";
import { fitted, sampledWidths } from "./text.js";

/**
 * @typedef {import("./payload.js").FlowHeader} FlowHeader
 * @typedef {import("./payload.js").FlowMatrixHeader} FlowMatrixHeader
 * @typedef {import("./flowlayout.js").FlowBox} FlowBox
 * @typedef {{box: FlowBox, row: number, col: number}} FlowCell
 */

const MOVE_MS = 140; // of a change of numbers
const ROOM_BELOW = 92; // px of the window left to what is under the flow
const PANE = 300; // px of that once it explains a weight
const FLOW_DIGITS = 7; // of a number in a tooltip
const TABLE_ROWS = 64; // and columns of a table
const STALE = 0.35; // opacity of what the controls no longer say
const LEAST_HEIGHT = 320; // px that the cells are fitted into

/** @extends {Mode<FlowCell>} */
export class FlowMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    /** @type {FlowHeader | null} */
    this.header = null;
    /** @type {Record<string, Float32Array>} */
    this.arrays = {};
    /** @type {Record<string, Float32Array>} */
    this.previous = {}; // what the numbers change from
    this.progress = 1; // of the change
    this.clock = 0;
    /** @type {import("./flowlayout.js").FlowChunk[]} */
    this.chunks = [];
    this.height = 0;
    /** @type {import("./flowlayout.js").FlowMeasures} */
    this.measures = { names: 0, columns: 0, wrap: () => [] };
    /** @type {Map<string, HTMLCanvasElement>} */
    this.images = new Map();
    this.namesOf = (/** @type {FlowMatrixHeader} */ matrix, /** @type {"rows" | "cols"} */ side) => this.header?.names[matrix[side]] ?? [];
    this.rampOf = (/** @type {boolean} */ twoSided) => this.stage.theme[twoSided ? "diverging" : "sequential"];
    this.keyActions = {
      ...arrowKeys((dx, dy) => this._step(dx, dy)),
      PageDown: () => this._stepMatrix(1),
      PageUp: () => this._stepMatrix(-1),
      Enter: () => this.hovered && this._pick(this.hovered),
    };
  }

  /** @param {import("./payload.js").FlowPayload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    const moves = before !== null && formOf(before) === formOf(header) && !stillness();
    this.previous = moves && before.id !== header.id ? this.arrays : {};
    this.header = header;
    this.arrays = arrays;
    this.hovered = null;
    this.label = `${header.title}. ${header.steps.length} steps from the input to the output. ` +
      "Arrow keys move in a matrix, Page Up and Page Down from matrix to matrix, Enter selects a weight.";
    this.images.clear();
    this._animate(Object.keys(this.previous).length > 0);
    this.stage.resize();
    if (header.stale) this.stage.say(header.stale);
  }

  /** @param {boolean} moves */
  _animate(moves) {
    cancelAnimationFrame(this.clock);
    this.progress = moves ? 0 : 1;
    if (!moves) return;
    const start = performance.now();
    const advance = () => {
      const t = Math.min(1, (performance.now() - start) / MOVE_MS);
      this.progress = t * (2 - t);
      this.images.clear();
      this.stage.repaint();
      if (t < 1) this.clock = requestAnimationFrame(advance);
    };
    this.clock = requestAnimationFrame(advance);
  }

  /** @param {FlowBox} box */
  matrixOf({ step, matrix }) {
    return /** @type {FlowHeader} */ (this.header).steps[step].matrices[matrix];
  }

  /** A number of a panel; NaN where there is none. @param {FlowBox} box @param {number} i */
  valueOf(box, i) {
    const { array, size } = this.matrixOf(box);
    const value = this.arrays[array][box.panel * size[0] * size[1] + i];
    return Number.isFinite(value) ? value : NaN;
  }

  /** @param {FlowBox} box */
  hasHoles(box) {
    return this.matrixOf(box).holes;
  }

  /** @param {FlowBox} box */
  imageOf(box) {
    const matrix = this.matrixOf(box);
    const key = `${matrix.array}/${box.panel}/${this.stage.theme.dark}`;
    let image = this.images.get(key);
    if (!image) {
      image = document.createElement("canvas");
      const from = this.previous[matrix.array], start = box.panel * matrix.size[0] * matrix.size[1];
      const mixed = (/** @type {number} */ i) => {
        const value = this.valueOf(box, i);
        const old = this.progress < 1 && from ? from[start + i] : NaN;
        return Number.isFinite(old) ? old + (value - old) * this.progress : value;
      };
      paintCells(image, mixed, matrix, this.rampOf(matrix.twoSided));
      this.images.set(key, image);
    }
    return image;
  }

  // ---- layout --------------------------------------------------------------------------------

  naturalHeight() {
    this._arrange();
    return this.height;
  }

  contentHeight() {
    return this.height;
  }

  /** @returns {[number, number]} */
  figureSize() {
    return [Math.max(...this.chunks.map((chunk) => chunk.x + chunk.w), 1), this.height];
  }

  themed() {
    this.images.clear();
    super.themed();
  }

  _arrange() {
    const { header, stage } = this;
    if (!header || !stage.width) return;
    const ctx = context2d(stage.picture);
    ctx.font = stage.font(FLOW_LABEL);
    const names = Object.entries(header.names).filter(([axis]) => axis in header.texts).flatMap(([, some]) => some);
    const widths = sampledWidths(ctx, names, 200);
    const widest = widths[Math.floor(0.95 * (widths.length - 1))] ?? 0;
    this.measures = {
      names: Math.max(24, Math.min(stage.width < 500 ? 56 : 84, widest + 10)),
      columns: Math.max(20, Math.min(64, widest + 10)),
      wrap: (text, room) => wrapped(ctx, text, room),
    };
    const room = Math.max(LEAST_HEIGHT, window.innerHeight - stage.above - ROOM_BELOW);
    const tokens = Math.max(...Object.keys(header.texts).map((axis) => header.names[axis].length));
    const made = fittedFlow(header.steps, stage.width - 1, room, tokens, this.measures);
    this.chunks = made.chunks;
    this.height = made.height + 1;
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  itemAt(x, y) {
    const box = boxAt(this.chunks, x, y + this.stage.top);
    if (!box) return null;
    const [rows, cols] = this.matrixOf(box).size;
    const row = Math.min(rows - 1, Math.floor(((y + this.stage.top - box.y) * rows) / box.h));
    return { box, row, col: Math.min(cols - 1, Math.floor(((x - box.x) * cols) / box.w)) };
  }

  /** A step's line may be cut: its heading says it in full. @param {number} x @param {number} y */
  hover(x, y) {
    super.hover(x, y);
    if (this.hovered || !this.header) return;
    const at = this.chunks.find((chunk) => x >= chunk.x && x < chunk.x + chunk.w && y + this.stage.top >= chunk.y && y + this.stage.top < chunk.y + STEP_HEAD);
    const step = at && this.header.steps[at.step];
    if (step) this.stage.tip(x, y, [["", `${step.title}: ${step.line}`], ["", step.help]]);
  }

  /** @param {FlowCell | null} a @param {FlowCell | null} b */
  sameItem(a, b) {
    return a === b || (a !== null && b !== null && a.box === b.box && a.row === b.row && a.col === b.col);
  }

  /** @param {FlowCell} item @returns {import("./mode.js").TipRow[]} */
  describe({ box, row, col }) {
    const matrix = this.matrixOf(box);
    const value = this.arrays[matrix.array][(box.panel * matrix.size[0] + row) * matrix.size[1] + col];
    /** @param {string} title @param {"rows" | "cols"} side @param {number} at @returns {import("./mode.js").TipRow} */
    const place = (title, side, at) => {
      const name = this.namesOf(matrix, side)[at];
      return name === String(at) ? [title, name] : [title, `${at} · `, name];
    };
    return [
      place(matrix.rowTitle, "rows", row),
      place(matrix.colTitle, "cols", col),
      ...(matrix.panels.length ? [/** @type {[string, string]} */ (["", matrix.panels[box.panel]])] : []),
      [matrix.title, Number.isFinite(value) ? String(Number(value.toPrecision(FLOW_DIGITS))) : "masked"],
    ];
  }

  /** @param {FlowCell} item */
  tokensOf({ box, row, col }) {
    return tokensOfCell(this._axesOf(this.matrixOf(box)), [row, col]);
  }

  /** What hoverlink.js reads of a map. @param {FlowMatrixHeader} matrix @returns {any} */
  _axesOf({ rows, cols, rowTitle, size }) {
    const { texts } = /** @type {FlowHeader} */ (this.header);
    return { rowAxis: texts[rows], colAxis: texts[cols], rowTitle, shape: size };
  }

  /** @param {FlowCell} item */
  isClickable({ box }) {
    return this.matrixOf(box).name === "weights";
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    const item = this.itemAt(x, y);
    if (item) this._pick(item);
  }

  /** @param {FlowCell} item */
  _pick({ box, row, col }) {
    if (!this.header || !this.isClickable({ box, row, col })) return;
    this.header.picked = [box.panel, row, col];
    this.stage.repaintOver();
    this.send("weight", [box.panel, row, col]);
    // What is said of it appears below, and must not cover it.
    const below = this.stage.picture.getBoundingClientRect().top + box.y - this.stage.top + box.h + PANE - window.innerHeight;
    if (below > 0) this.stage.page?.scrollBy({ top: below, behavior: stillness() ? "auto" : "smooth" });
  }

  /** @param {number} dx @param {number} dy */
  _step(dx, dy) {
    const now = this.hovered;
    if (!now) return this._stepMatrix(1);
    const [rows, cols] = this.matrixOf(now.box).size;
    this._goTo(now.box, Math.min(rows - 1, Math.max(0, now.row + dy)), Math.min(cols - 1, Math.max(0, now.col + dx)));
  }

  /** To the next matrix; at first to the weights. @param {number} by */
  _stepMatrix(by) {
    const boxes = this.chunks.flatMap((chunk) => chunk.boxes);
    const weights = boxes.findIndex((box) => this.matrixOf(box).name === "weights");
    const next = this.hovered ? boxes.indexOf(this.hovered.box) + by : weights;
    const box = boxes[(next + boxes.length) % boxes.length];
    const [rows, cols] = this.matrixOf(box).size;
    this._goTo(box, Math.min(this.hovered?.row ?? rows - 1, rows - 1), Math.min(this.hovered?.col ?? 0, cols - 1));
  }

  /** @param {FlowBox} box @param {number} row @param {number} col */
  _goTo(box, row, col) {
    const [rows, cols] = this.matrixOf(box).size;
    const [x, y] = [box.x + ((col + 0.5) * box.w) / cols, box.y + ((row + 0.5) * box.h) / rows];
    this.hoverByKey({ box, row, col }, { top: y - 8, bottom: y + 8, scrollTo: y - 40 }, () => [x, y - this.stage.top]);
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    ctx.translate(0, -this.stage.top);
    const stale = this.header?.stale ?? "";
    if (stale) ctx.globalAlpha = STALE;
    drawFlow(ctx, this);
    if (stale) drawBanner(ctx, this.stage, stale);
  }

  /** What is hovered, or else the picked weight: its query and its key in every matrix. @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    const { header, hovered, lit, stage } = this;
    if (!header) return;
    ctx.translate(0, -stage.top);
    const boxes = this.chunks.flatMap((chunk) => chunk.boxes);
    const picked = header.picked && boxes.find((box) => this.matrixOf(box).name === "weights" && box.panel === header.picked?.[0]);
    const cell = header.picked;
    if (picked && cell) outlineCells(ctx, picked, this.matrixOf(picked), [cell[1], cell[2]], stage.theme.selected);
    const tokens = hovered ? this.tokensOf(hovered) : lit ?? (picked && cell ? this.tokensOf({ box: picked, row: cell[1], col: cell[2] }) : null);
    if (!tokens) return;
    ctx.globalAlpha = hovered || lit ? 0.9 : 0.5;
    for (const box of boxes) {
      const matrix = this.matrixOf(box);
      for (const at of litCells(this._axesOf(matrix), tokens)) outlineCells(ctx, box, matrix, at, stage.theme.selected);
    }
    if (hovered) {
      ctx.globalAlpha = 1;
      outlineCells(ctx, hovered.box, this.matrixOf(hovered.box), [hovered.row, hovered.col], stage.theme.selected);
    }
  }

  /** The matrix that is hovered, or the weights. */
  table() {
    const boxes = this.chunks.flatMap((chunk) => chunk.boxes);
    const box = this.hovered?.box ?? boxes.find((one) => this.matrixOf(one).name === "weights") ?? boxes[0];
    if (!box) return super.table();
    const matrix = this.matrixOf(box);
    const [rows, cols] = matrix.size.map((n) => Math.min(n, TABLE_ROWS));
    const [rowNames, colNames] = [this.namesOf(matrix, "rows"), this.namesOf(matrix, "cols")];
    const count = (/** @type {number} */ n) => [...Array(n).keys()];
    const text = (/** @type {number} */ i) => (Number.isNaN(this.valueOf(box, i)) ? "masked" : String(Number(this.valueOf(box, i).toPrecision(5))));
    return {
      caption: `${matrix.title}: ${matrix.formula}`,
      columns: [matrix.rowTitle, ...count(cols).map((j) => colNames[j])],
      rows: count(rows).map((i) => [rowNames[i], ...count(cols).map((j) => text(i * matrix.size[1] + j))]),
    };
  }

  destroy() {
    super.destroy();
    cancelAnimationFrame(this.clock);
  }
}

/** Whether the reader wants nothing to move. */
function stillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** What must be the same for numbers to change in place. @param {FlowHeader} header */
function formOf({ steps }) {
  return JSON.stringify(steps.map((step) => step.matrices.map(({ name, size, panels }) => [name, size, panels.length])));
}

/** A text in one line, or in two, cut at a space. @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} room */
function wrapped(ctx, text, room) {
  if (!text || ctx.measureText(text).width <= room) return text ? [text] : [];
  const words = text.split(" ");
  let first = words.length;
  while (first > 1 && ctx.measureText(words.slice(0, first).join(" ")).width > room) first--;
  return [words.slice(0, first).join(" "), fitted(ctx, words.slice(first).join(" "), room)].filter(Boolean);
}
