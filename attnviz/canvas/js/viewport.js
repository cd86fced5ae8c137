// The part of a map that is on screen. Lengths are px from the plot's corner.

/** @typedef {import("./payload.js").Span} Span */
/** @typedef {import("./payload.js").Cell} Cell */

export const LARGEST_CELL = 120; // px
export const ROOMY = 80; // px a cell at first: three tokens need not fill a screen
const READABLE = 14; // px a row: more rows than fit are first shown from the top

export class Viewport {
  constructor() {
    this.rows = this.cols = 1;
    this.width = this.height = 0;
    this.x = this.y = 0; // where the map's first cell is
    this.cell = 0; // px a cell is wide; 0 until there is a plot
    this.stretch = 1; // its height as a share of its width
    this.whole = true; // the whole map is on screen
  }

  /**
   * @param {Cell} shape @param {number} width @param {number} height of the plot
   * @param {boolean} [fills] rows and columns are of different kinds: cells need not be square, and fill the plot
   */
  resize(shape, width, height, fills = false) {
    [this.rows, this.cols] = shape;
    [this.width, this.height] = [width, height];
    const row = Math.max(READABLE, Math.min(ROOMY, height / this.rows));
    const stretch = fills ? row / Math.max(0.1, Math.min(ROOMY, width / this.cols)) : 1;
    this.y *= stretch / this.stretch;
    this.stretch = stretch;
    if (this.whole || this.cell < this.smallest) this.fit();
    else this._clamp();
  }

  get smallest() {
    return Math.min(this.width / this.cols, this.height / this.rows / this.stretch, ROOMY);
  }

  /** Px a cell is high. */
  get tall() {
    return this.cell * this.stretch;
  }

  /** Show a map of many more rows than columns from its top, in rows that can be read. */
  showTop() {
    if (this.rows <= 3 * this.cols && this.stretch === 1) return;
    if (this.smallest * this.stretch >= READABLE - 1e-6) return;
    this.show([0, Math.ceil(this.height / READABLE)], [0, this.cols]);
  }

  fit() {
    this.cell = this.smallest;
    this.x = this.y = 0;
    this.whole = true;
  }

  /** @param {Span} rows @param {Span} cols */
  show(rows, cols) {
    this._setCell(Math.min(this.width / (cols[1] - cols[0]), this.height / (rows[1] - rows[0]) / this.stretch));
    this.x = -cols[0] * this.cell;
    this.y = -rows[0] * this.tall;
    this._clamp();
  }

  /** The point (x, y) stays where it is. @param {number} factor @param {number} x @param {number} y */
  zoom(factor, x, y) {
    const before = this.cell;
    this._setCell(before * factor);
    this.x = x - ((x - this.x) * this.cell) / before;
    this.y = y - ((y - this.y) * this.cell) / before;
    this._clamp();
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this._clamp();
  }

  /** Bring a cell on screen. @param {Cell} at */
  reveal([row, col]) {
    const into = (/** @type {number} */ offset, /** @type {number} */ plot, /** @type {number} */ i, /** @type {number} */ size) =>
      Math.max(-i * size, Math.min(offset, plot - (i + 1) * size));
    this.x = into(this.x, this.width, col, this.cell);
    this.y = into(this.y, this.height, row, this.tall);
    this._clamp();
  }

  /** The rows and columns on screen. */
  visible() {
    /** @param {number} offset @param {number} plot @param {number} n @param {number} size @returns {Span} */
    const span = (offset, plot, n, size) => [
      Math.max(0, Math.min(n - 1, Math.floor(-offset / size + 1e-6))),
      Math.min(n, Math.ceil((plot - offset) / size - 1e-6))];
    return { rows: span(this.y, this.height, this.rows, this.tall), cols: span(this.x, this.width, this.cols, this.cell) };
  }

  /** @param {number} x @param {number} y @returns {Cell | null} */
  cellAt(x, y) {
    const col = Math.floor((x - this.x) / this.cell);
    const row = Math.floor((y - this.y) / this.tall);
    const inside = x >= 0 && y >= 0 && x < this.width && y < this.height &&
      row >= 0 && col >= 0 && row < this.rows && col < this.cols;
    return inside ? [row, col] : null;
  }

  /** A cell's middle. @param {Cell} at @returns {[number, number]} */
  middle([row, col]) {
    return [this.x + (col + 0.5) * this.cell, this.y + (row + 0.5) * this.tall];
  }

  get right() {
    return Math.min(this.width, this.x + this.cols * this.cell);
  }

  get bottom() {
    return Math.min(this.height, this.y + this.rows * this.tall);
  }

  /** @param {number} cell */
  _setCell(cell) {
    this.cell = Math.max(this.smallest, Math.min(LARGEST_CELL, cell));
  }

  _clamp() {
    this.x = Math.min(0, Math.max(this.x, Math.min(0, this.width - this.cols * this.cell)));
    this.y = Math.min(0, Math.max(this.y, Math.min(0, this.height - this.rows * this.tall)));
    this.whole = this.cell <= this.smallest * 1.0001;
  }
}
