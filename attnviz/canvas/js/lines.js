// Heads as lines from queries to keys: only what is on screen and over the threshold is drawn.

import { codecOf, significantCode } from "./codecs.js";
import { context2d, element, plainButton, slider } from "./dom.js";
import { GRAY, HeadPlaces } from "./headplaces.js";
import { placeOn, tokenOn } from "./hoverlink.js";
import { drawLines, outlineToken } from "./linesdraw.js";
import { keepStrongest, Links, strongest } from "./links.js";
import { arrowKeys, Mode } from "./mode.js";
import { roomForNames, sampledWidths } from "./text.js";
import { headColor } from "./theme.js";

const LEAST_ROW = 20; // px a token
const MOST_ROW = 32;
const TOP = 26; // px above the first token
const BOTTOM = 8;
const NAME_FONT = 13; // px
const WIDEST = 900; // px that lines reach across; longer ones are too flat to tell apart
const MOST_DRAWN = 30_000;
const LINES_IN_TABLE = 200;
const TIP_ROWS = 8;

/** @typedef {import("./payload.js").Token} Token */
/** @typedef {import("./links.js").LinkHead} LinkHead */

/** @extends {Mode<Token>} */
export class LinesMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    this.label = "Attention lines";
    /** @type {import("./payload.js").LinesHeader | null} */
    this.header = null;
    this.codec = codecOf({ kind: "significant" });
    this.threshold = 0.1;
    /** @type {Set<number>} */
    this.hidden = new Set(); // heads by number
    /** @type {Token | null} */
    this.focus = null; // clicked
    /** @type {LinkHead[]} */
    this.heads = [];
    /** @type {string[]} */
    this.rows = [];
    /** @type {string[]} */
    this.cols = [];
    /** @type {Uint32Array} */
    this.keys = new Uint32Array(0); // of each line
    /** @type {Uint16Array} */
    this.codes = new Uint16Array(0);
    this.links = new Links([], this.keys, this.codes, 0, 0);
    this.queries = this.links.queries;
    this.places = new HeadPlaces();
    /** @type {number | null} */
    this.raised = null; // the head whose chip is hovered
    /** @type {HTMLElement[]} */
    this.chips = [];
    this.row = LEAST_ROW; // px a token
    this.left = this.right = this.inset = 0; // px, see layout
    this.leftOut = 0; // lines over the threshold that are too many to draw
    this.keyActions = {
      ...arrowKeys((dx, dy) => this._step(dx, dy)),
      Enter: () => this._focusCurrent(),
      " ": () => this._focusCurrent(),
      Escape: () => this._letGo(),
    };
  }

  /** @param {import("./payload.js").LinesPayload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    if (!before || JSON.stringify(header.token) !== JSON.stringify(before.token)) {
      this.focus = header.token ? { side: header.token[0], index: header.token[1] } : null;
    }
    this.header = header;
    [this.rows, this.cols] = [header.rowNames, header.colNames];
    if (before?.id === header.id) {
      this._updateChips(); // another head may be in front
      return;
    }
    const n = this.rows.length;
    this.heads = header.heads.map((number, i) => ({
      number, i,
      starts: arrays.starts.subarray(i * (n + 1), (i + 1) * (n + 1)),
      byKey: null,
    }));
    this.keys = arrays.keys;
    this.codes = arrays.codes;
    this.links = new Links(this.heads, this.keys, this.codes, n, this.cols.length);
    this.queries = this.links.queries;
    if (this.focus && this.focus.index >= this._namesOf(this.focus.side).length) this.focus = null;
    this.label = `${header.title}: lines from ${n} queries on the left to ${this.cols.length} keys on the right. ` +
      "Arrow keys move between tokens, Enter selects one, Escape clears.";
    this.raised = null;
    this._build(header.floor);
    this.stage.resize();
  }

  /** @param {number} floor the least weight sent */
  _build(floor) {
    this.threshold = Math.max(this.threshold, floor);
    const toValue = (/** @type {number} */ t) => floor * (1 / floor) ** (t / 100); // even steps of the logarithm
    const at = Math.round((100 * Math.log(this.threshold / floor)) / Math.log(1 / floor) || 0);
    const threshold = slider("Hide lines below", { min: 0, max: 100, step: 1, value: at },
      (t) => toValue(t).toPrecision(2), (t) => { this.threshold = toValue(t); this.stage.repaint(); });
    this.chips = this.heads.map((head) =>
      element("button", { type: "button", class: "chip", "aria-pressed": "true",
        title: `Head ${head.number}: click to show or hide; double-click, or Shift and Enter, to isolate`,
        click: (event) => (/** @type {MouseEvent} */ (event).shiftKey ? this._only(head.number) : this._toggle(head.number)),
        dblclick: () => this._only(head.number),
        pointerenter: () => this._raise(head.number), pointerleave: () => this._raise(null) },
      [element("i"), String(head.number)]));
    const all = plainButton("All", "Show all heads", () => { this.hidden.clear(); this._updateChips(); });
    this.setTools([threshold.group,
      element("span", { class: "chips", role: "group", "aria-label": "Heads" }, this.chips), all]);
    this._updateChips();
  }

  /** @param {number} number of a head */
  _toggle(number) {
    if (!this.hidden.delete(number)) this.hidden.add(number);
    this._updateChips();
  }

  /** Show a head in front of the others, which fade. @param {number | null} number */
  _raise(number) {
    this.raised = number;
    this.stage.repaint();
  }

  /** @param {number} number of a head */
  _only(number) {
    this.hidden = new Set(this.heads.map((h) => h.number).filter((other) => other !== number));
    this._updateChips();
  }

  _updateChips() {
    this.places.assign(this.heads.map((h) => h.number), this.active().map((h) => h.number), this.header?.front ?? null);
    this.heads.forEach((head, i) => {
      this.chips[i].setAttribute("aria-pressed", String(!this.hidden.has(head.number)));
      this.chips[i].style.setProperty("--color", this.colorOf(head));
    });
    this.stage.repaint();
    this.stage.fillTable();
  }

  themed() {
    this._updateChips();
  }

  /** @param {LinkHead} head */
  colorOf(head) {
    return headColor(this.stage.theme, this.places.of(head.number));
  }

  /** Heads that aren't hidden. */
  active() {
    return this.heads.filter((head) => !this.hidden.has(head.number));
  }

  // ---- layout --------------------------------------------------------------------------------

  get _most() {
    return Math.max(this.rows.length, this.cols.length);
  }

  layout() {
    const { width, height } = this.stage;
    this.row = Math.max(LEAST_ROW, Math.min(MOST_ROW, Math.floor((height - TOP - BOTTOM) / Math.max(1, this._most))));
    const ctx = context2d(this.stage.picture);
    ctx.font = this.stage.font(NAME_FONT);
    const [left, right] = roomForNames(width,
      [this.rows, this.cols].map((names) => sampledWidths(ctx, names, 300).at(-1) ?? 0));
    [this.left, this.right] = [left, width - right];
    this.inset = Math.max(0, (this.right - this.left - WIDEST) / 2);
  }

  naturalHeight() {
    return TOP + this._most * MOST_ROW + BOTTOM;
  }

  contentHeight() {
    return TOP + this._most * this.row + BOTTOM;
  }

  /** The middle of a token. @param {number} index */
  _y(index) {
    return TOP + (index + 0.5) * this.row - this.stage.top;
  }

  /** Where lines start. */
  get _x0() {
    return this.left + this.inset;
  }

  /** Where lines end. */
  get _x1() {
    return this.right - this.inset;
  }

  /** The tokens on screen, of n. @param {number} n @returns {import("./payload.js").Span} */
  _window(n) {
    const first = Math.floor((this.stage.top - TOP) / this.row);
    const last = Math.ceil((this.stage.top + this.stage.height - TOP) / this.row);
    return [Math.max(0, Math.min(n, first)), Math.max(0, Math.min(n, last))];
  }

  /** @param {import("./payload.js").Side} side */
  _namesOf(side) {
    return side === "row" ? this.rows : this.cols;
  }

  /** The token whose lines alone are shown. */
  get solo() {
    return this.hovered ?? this.focus;
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y @returns {Token | null} */
  itemAt(x, y) {
    const index = Math.floor((y + this.stage.top - TOP) / this.row);
    if (index < 0 || (y < TOP - 4 && this.stage.top === 0)) return null;
    if (x < this._x0 && index < this.rows.length) return { side: "row", index };
    if (x > this._x1 && index < this.cols.length) return { side: "col", index };
    return null;
  }

  isClickable() {
    return true;
  }

  /** @param {Token | null} a @param {Token | null} b */
  sameItem(a, b) {
    return a?.side === b?.side && a?.index === b?.index;
  }

  hoverChanged() {
    this.stage.repaint();
  }

  /** @param {number} x @param {number} y */
  click(x, y) {
    this.focusOn(this.itemAt(x, y));
  }

  /** Focus a token; the focused one, or null, ends the focus. @param {Token | null} token */
  focusOn(token) {
    const next = this.sameItem(token, this.focus) ? null : token;
    if (!next && !this.focus) return;
    this.focus = next;
    this.stage.repaint();
    this.stage.fillTable();
    this.send("token", next);
  }

  _focusCurrent() {
    if (this.solo) this.focusOn(this.solo);
  }

  _letGo() {
    this.setHovered(null);
    this.stage.hideTip();
    this.focusOn(null);
  }

  /** @param {number} dx @param {number} dy */
  _step(dx, dy) {
    const now = this.solo;
    const side = dx < 0 ? "row" : dx > 0 ? "col" : now?.side ?? "row";
    const index = Math.max(0, Math.min(this._namesOf(side).length - 1, now ? now.index + dy : 0));
    const top = TOP + index * this.row;
    this.hoverByKey({ side, index }, { top, bottom: top + this.row, scrollTo: top - this.stage.height / 2 },
      () => [side === "row" ? this._x0 : this._x1, this._y(index) + this.row / 2]);
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** The strongest lines of a token. @param {Token} token @param {number} most */
  _linesOf(token, most) {
    return strongest(this.active().map((head) => ({ head, lines: this.links.of(head, token, this._least) })),
      this.codes, most);
  }

  /** Of each token across, its weights with a token and their heads. @param {Token} token */
  sharesOf(token) {
    const shares = /** @type {Map<number, [LinkHead, number][]>} */ (new Map());
    for (const head of this.active()) {
      for (const line of this.links.of(head, token, this._least)) {
        const other = token.side === "row" ? this.keys[line] : this.queries[line];
        const weights = shares.get(other) ?? [];
        shares.set(other, weights);
        weights.push([head, Math.min(1, this.codec.values[this.codes[line]])]);
      }
    }
    return shares;
  }

  /** Lines to draw: one list a head. @returns {{head: LinkHead, lines: number[]}[]} */
  visibleLines() {
    const [rows, cols] = [this._window(this.rows.length), this._window(this.cols.length)];
    const token = this.solo;
    const found = this.active().map((head) => ({
      head,
      lines: token ? this.links.of(head, token, this._least) : this.links.within(head, rows, cols, this._least),
    }));
    this.leftOut = keepStrongest(found, this.codes, MOST_DRAWN);
    return found;
  }

  /** The least code drawn. */
  get _least() {
    return Math.max(significantCode(this.threshold), 1);
  }

  /** @param {Token} token */
  describe(token) {
    const row = token.side === "row";
    const rows = /** @type {import("./mode.js").TipRow[]} */ (
      [[row ? "query" : "key", `${token.index} · `, this._namesOf(token.side)[token.index]]]);
    for (const [line, head] of this._linesOf(token, TIP_ROWS)) {
      const other = row ? this.keys[line] : this.queries[line];
      const text = this._namesOf(row ? "col" : "row")[other];
      rows.push([`${this.codec.text(this.codes[line])}  head ${head.number}`, `${row ? "→" : "←"} ${other} · `, text]);
    }
    return rows;
  }

  /** @param {Token} token */
  tokensOf({ side, index }) {
    const { rowAxis, colAxis } = this.header ?? {};
    return side === "row" ? { query: tokenOn(rowAxis, index), key: null } : { query: null, key: tokenOn(colAxis, index) };
  }

  /** @returns {import("./mode.js").Table} */
  table() {
    const token = this.solo;
    const lines = token ? this._linesOf(token, LINES_IN_TABLE) : strongest(this.visibleLines(), this.codes, LINES_IN_TABLE);
    return {
      caption: `${this.header?.title}: strongest lines ${token ? "of one token" : "on screen"}`,
      columns: ["query", "key", "head", "weight"],
      rows: lines.map(([line, head]) => [
        [`${this.queries[line]} `, this.rows[this.queries[line]]], [`${this.keys[line]} `, this.cols[this.keys[line]]],
        String(head.number), this.codec.text(this.codes[line])]),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    const drawn = drawLines(ctx, this);
    const lines = `${drawn.toLocaleString("en")} lines`;
    const cut = this.leftOut ? `; ${this.leftOut.toLocaleString("en")} weaker lines hidden` : "";
    const meaning = this.solo ? "Bars: total weight on each token, summed over heads."
      : "Color = head, width = weight.";
    const gray = this.active().filter((head) => this.places.of(head.number) === GRAY).length;
    const others = gray > 1 ? ` ${gray} heads share gray: hide some, or point at a head's button.` : "";
    this.stage.status(`${lines}${cut}. ${meaning}${others}`);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    if (!this.lit || !this.header) return;
    const row = placeOn(this.header.rowAxis, this.rows.length, this.lit.query);
    const col = placeOn(this.header.colAxis, this.cols.length, this.lit.key);
    if (row !== null) outlineToken(ctx, this, "row", row);
    if (col !== null) outlineToken(ctx, this, "col", col);
  }

  /** @returns {import("./figure.js").FigureTexts} */
  figure() {
    const [gray, colored] = [true, false].map((is) => this.active().filter((head) => (this.places.of(head.number) === GRAY) === is));
    const items = colored.map((head) => ({ color: this.colorOf(head), text: String(head.number) }));
    if (gray.length) items.push({ color: this.colorOf(gray[0]), text: gray.map((head) => head.number).join(", ") });
    const { solo } = this;
    const one = solo ? ` of ${solo.side === "row" ? "query" : "key"} ${solo.index} ${this._namesOf(solo.side)[solo.index]}` : "";
    return {
      title: `${this.stage.title}: lines${one}`, legends: [{ kind: "colors", title: "head", items }],
      note: `Weights of ${this.threshold.toPrecision(2)} and more, from each query on the left to the keys on the right. A line is as wide as its weight.`,
    };
  }
}
