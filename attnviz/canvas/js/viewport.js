// The part of a map that is on screen. Lengths are px from the plot's corner.

/** @typedef {import("./payload.js").Span} Span */
/** @typedef {import("./payload.js").Cell} Cell */

export const LARGEST_CELL = 120; // px
export const ROOMY = 80; // px a cell at first: three tokens need not fill a screen

export class Viewport {
  constructor() {
    this.rows = this.cols = 1;
    this.width = this.height = 0;
    this.x = this.y = 0; // where the map's first cell is
    this.cell = 0; // px a cell; 0 until there is a plot
    this.whole = true; // the whole map is on screen
  }

  /** @param {Cell} shape @param {number} width @param {number} height of the plot */
  resize(shape, width, height) {
    [this.rows, this.cols] = shape;
    [this.width, this.height] = [width, height];
    if (this.whole || this.cell < this.smallest) this.fit();
    else this._clamp();
  }

  get smallest() {
    return Math.min(this.width / this.cols, this.height / this.rows, ROOMY);
  }

  /** Whether a map of many more rows than columns has cells smaller than this. @param {number} cell px */
  tooTall(cell) {
    return this.rows > 3 * this.cols && this.smallest < cell;
  }

  fit() {
    this.cell = this.smallest;
    this.x = this.y = 0;
    this.whole = true;
  }

  /** @param {Span} rows @param {Span} cols */
  show(rows, cols) {
    this._setCell(Math.min(this.width / (cols[1] - cols[0]), this.height / (rows[1] - rows[0])));
    this.x = -cols[0] * this.cell;
    this.y = -rows[0] * this.cell;
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
    const into = (/** @type {number} */ offset, /** @type {number} */ plot, /** @type {number} */ i) => Math.max(-i * this.cell, Math.min(offset, plot - (i + 1) * this.cell));
    this.x = into(this.x, this.width, col);
    this.y = into(this.y, this.height, row);
    this._clamp();
  }

  /** The rows and columns on screen. */
  visible() {
    /** @param {number} offset @param {number} plot @param {number} n @returns {Span} */
    const span = (offset, plot, n) => [
      Math.max(0, Math.min(n - 1, Math.floor(-offset / this.cell + 1e-6))),
      Math.min(n, Math.ceil((plot - offset) / this.cell - 1e-6))];
    return { rows: span(this.y, this.height, this.rows), cols: span(this.x, this.width, this.cols) };
  }

  /** @param {number} x @param {number} y @returns {Cell | null} */
  cellAt(x, y) {
    const col = Math.floor((x - this.x) / this.cell);
    const row = Math.floor((y - this.y) / this.cell);
    const inside = x >= 0 && y >= 0 && x < this.width && y < this.height &&
      row >= 0 && col >= 0 && row < this.rows && col < this.cols;
    return inside ? [row, col] : null;
  }

  /** A cell's middle. @param {Cell} at @returns {[number, number]} */
  middle([row, col]) {
    return [this.x + (col + 0.5) * this.cell, this.y + (row + 0.5) * this.cell];
  }

  get right() {
    return Math.min(this.width, this.x + this.cols * this.cell);
  }

  get bottom() {
    return Math.min(this.height, this.y + this.rows * this.cell);
  }

  /** @param {number} cell */
  _setCell(cell) {
    this.cell = Math.max(this.smallest, Math.min(LARGEST_CELL, cell));
  }

  _clamp() {
    const least = (/** @type {number} */ plot, /** @type {number} */ n) => Math.min(0, plot - n * this.cell);
    this.x = Math.min(0, Math.max(this.x, least(this.width, this.cols)));
    this.y = Math.min(0, Math.max(this.y, least(this.height, this.rows)));
    this.whole = this.cell <= this.smallest * 1.0001;
  }
}
