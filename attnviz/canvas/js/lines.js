// Heads as lines from queries to keys: only what is on screen and over the threshold is drawn.

import { codecOf, significantCode } from "./codecs.js";
import { headColor } from "./theme.js";
import { element, plainButton, slider } from "./dom.js";
import { drawLines, linesAsSvg } from "./linesdraw.js";
import { keepStrongest, Links, strongest } from "./links.js";
import { spoken } from "./stage.js";

const LEAST_ROW = 20; // px a token
const MOST_ROW = 32;
const TOP = 26;
const MOST_DRAWN = 30_000;
const TABLE_ROWS = 200;

/** @typedef {import("./links.js").Token} Token */

export class LinesMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    this.codec = codecOf({ kind: "significant" });
    this.threshold = 0.1;
    this.hidden = new Set(); // heads by number
    /** @type {Token | null} */
    this.held = null; // clicked
    /** @type {Token | null} */
    this.hovered = null;
    this.walked = -1; // where the picture was scrolled to when keys chose what is hovered
    this.row = LEAST_ROW;
    this.tools = [];
    this.label = "Attention lines";
  }

  /** @param {import("./payload.js").Payload} payload */
  receive({ header, arrays }) {
    const same = this.header?.id === header.id;
    const fresh = JSON.stringify(header.token) !== JSON.stringify(this.header?.token);
    if (!this.header || fresh) this.held = header.token ? { side: header.token[0], index: header.token[1] } : null;
    this.header = header;
    this.rows = header.rowNames;
    this.cols = header.colNames;
    if (same) {
      this.stage.repaint();
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
    if (this.held && this.held.index >= (this.held.side === "row" ? n : this.cols.length)) this.held = null;
    this.label = `${header.title}: lines from ${n} queries on the left to ${this.cols.length} keys on the right. ` +
      "Arrow keys walk through the tokens, Enter holds one, Escape lets go.";
    this._build();
    this.stage.resize();
  }

  _build() {
    const { floor } = this.header;
    this.threshold = Math.max(this.threshold, floor);
    const toValue = (t) => floor * (1 / floor) ** (t / 100); // even steps of the logarithm
    const at = Math.round((100 * Math.log(this.threshold / floor)) / Math.log(1 / floor) || 0);
    const threshold = slider("At least", { min: 0, max: 100, step: 1, value: at },
      (t) => toValue(t).toPrecision(2), (t) => { this.threshold = toValue(t); this.stage.repaint(); });
    this.chips = this.heads.map((head) =>
      element("button", { type: "button", class: "chip", title: `Head ${head.number}: click to show or hide, double click for it alone`,
        "aria-pressed": "true", click: () => this._toggle(head.number), dblclick: () => this._only(head.number) },
      [element("i"), String(head.number)]));
    const all = plainButton("All", "Show all heads", () => { this.hidden.clear(); this._chipsShown(); });
    this.stage.tools.replaceChildren(threshold.group,
      element("span", { class: "chips", role: "group", "aria-label": "Heads" }, this.chips), all);
    this.tools = [...this.stage.tools.children];
    this._chipsShown();
  }

  _toggle(number) {
    if (this.hidden.has(number)) this.hidden.delete(number);
    else this.hidden.add(number);
    this._chipsShown();
  }

  _only(number) {
    this.hidden = new Set(this.heads.map((h) => h.number).filter((other) => other !== number));
    this._chipsShown();
  }

  _chipsShown() {
    this.heads.forEach((head, i) => {
      this.chips[i].setAttribute("aria-pressed", String(!this.hidden.has(head.number)));
      this.chips[i].style.setProperty("--color", this.colorOf(head));
    });
    this.stage.repaint();
    this.stage.fillTable();
  }

  themed() {
    if (this.heads) this._chipsShown();
  }

  colorOf(head) {
    return headColor(this.stage.theme, head.i, this.heads.length);
  }

  active() {
    return this.heads.filter((head) => !this.hidden.has(head.number));
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    const { width, height } = this.stage;
    const n = Math.max(1, this.rows?.length ?? 0, this.cols?.length ?? 0);
    this.row = Math.max(LEAST_ROW, Math.min(MOST_ROW, Math.floor((height - TOP - 8) / n)));
    const ctx = this.stage.picture.getContext("2d");
    ctx.font = this.stage.font(13);
    const room = (names) => {
      const step = Math.max(1, Math.floor(names.length / 300));
      let most = 40;
      for (let i = 0; i < names.length; i += step) most = Math.max(most, ctx.measureText(names[i]).width);
      return Math.min(most, width * 0.22) + 52;
    };
    this.left = room(this.rows);
    this.right = Math.max(width - room(this.cols), this.left + 60);
    // lines that cross a very wide screen are too flat to tell apart
    const spare = this.right - this.left - 900;
    this.inset = Math.max(0, spare / 2);
  }

  naturalHeight() {
    return TOP + Math.max(this.rows?.length ?? 0, this.cols?.length ?? 0) * MOST_ROW + 8;
  }

  contentHeight() {
    return TOP + Math.max(this.rows?.length ?? 0, this.cols?.length ?? 0) * this.row + 8;
  }

  _y(index) {
    return TOP + (index + 0.5) * this.row - this.stage.top;
  }

  get _x0() {
    return this.left + this.inset;
  }

  get _x1() {
    return this.right - this.inset;
  }

  _window(n) {
    const first = Math.floor((this.stage.top - TOP) / this.row);
    const last = Math.ceil((this.stage.top + this.stage.height - TOP) / this.row);
    return [Math.max(0, Math.min(n, first)), Math.max(0, Math.min(n, last))];
  }

  /** @returns {Token | null} */
  _tokenAt(x, y) {
    const index = Math.floor((y + this.stage.top - TOP) / this.row);
    if (y < TOP - 4 && this.stage.top === 0) return null;
    if (x < this._x0 && index >= 0 && index < this.rows.length) return { side: "row", index };
    if (x > this._x1 && index >= 0 && index < this.cols.length) return { side: "col", index };
    return null;
  }

  get alone() {
    return this.hovered ?? this.held;
  }

  // ---- the hand ------------------------------------------------------------------------------

  hover(x, y) {
    const token = this._tokenAt(x, y);
    this.stage.picture.style.cursor = token ? "pointer" : "";
    const changed = token?.side !== this.hovered?.side || token?.index !== this.hovered?.index;
    this.hovered = token;
    this.walked = -1;
    if (changed) this.stage.repaint();
    if (token) this.stage.tip(x, y, this.describe(token));
    else this.stage.hideTip();
  }

  leave() {
    if (this.walked === this.stage.top) return;
    this.stage.hideTip();
    if (this.walked >= 0) return; // what keys chose stays
    if (this.hovered) {
      this.hovered = null;
      this.stage.repaint();
    }
  }

  click(x, y) {
    this.hold(this._tokenAt(x, y));
  }

  hold(token) {
    const same = token && this.held && token.side === this.held.side && token.index === this.held.index;
    const next = same ? null : token;
    if (!next && !this.held) return;
    this.held = next;
    this.stage.repaint();
    this.stage.fillTable();
    this.send("token", next);
  }

  key(event) {
    const now = this.alone;
    if (event.key === "Escape") {
      this.hovered = null;
      this.stage.hideTip();
      this.stage.repaint();
      this.hold(null);
    } else if (event.key === "Enter" || event.key === " ") {
      if (now) this.hold(now);
    } else if (["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].includes(event.key)) {
      const side = /** @type {Token["side"]} */ ({ ArrowLeft: "row", ArrowRight: "col" }[event.key] ?? now?.side ?? "row");
      const n = side === "row" ? this.rows.length : this.cols.length;
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
      const index = Math.max(0, Math.min(n - 1, now ? now.index + step : 0));
      const y = TOP + index * this.row;
      const { scroll, top, height } = this.stage;
      if (y < top || y + this.row > top + height) scroll.scrollTop = y - height / 2;
      this.walked = this.stage.top;
      this.hovered = { side, index };
      const rows = this.describe(this.hovered);
      this.stage.tip(side === "row" ? this._x0 : this._x1, this._y(index) + this.row / 2, rows);
      this.stage.say(spoken(rows));
      this.stage.repaint();
    } else return false;
    return true;
  }

  /** The strongest lines of a token. @param {Token} token @param {number} [most] */
  _linesOf(token, most = 8) {
    return strongest(this.active().map((head) => ({ head, lines: this.links.of(head, token, this._least) })),
      this.codes, most);
  }

  /** Of each token across, its weights with a token and their heads. @param {Token} token */
  sharesOf(token) {
    const shares = /** @type {Map<number, [any, number][]>} */ (new Map());
    for (const head of this.active()) {
      for (const line of this.links.of(head, token, this._least)) {
        const other = token.side === "row" ? this.keys[line] : this.queries[line];
        if (!shares.has(other)) shares.set(other, []);
        shares.get(other).push([head, Math.min(1, this.codec.values[this.codes[line]])]);
      }
    }
    return shares;
  }

  /** Lines to draw: one list a head. @returns {{head: any, lines: number[]}[]} */
  visibleLines() {
    const rows = this._window(this.rows.length);
    const cols = this._window(this.cols.length);
    const found = this.active().map((head) => ({
      head,
      lines: this.alone ? this.links.of(head, this.alone, this._least) : this.links.within(head, rows, cols, this._least),
    }));
    this.leftOut = keepStrongest(found, this.codes, MOST_DRAWN);
    return found;
  }

  get _least() {
    return Math.max(significantCode(this.threshold), 1);
  }

  /** @returns {import("./stage.js").TipRow[]} */
  describe(token) {
    const row = token.side === "row";
    const name = (row ? this.rows : this.cols)[token.index];
    const rows = /** @type {import("./stage.js").TipRow[]} */ ([[row ? "query" : "key", `${token.index} · `, name]]);
    for (const [line, head] of this._linesOf(token)) {
      const other = row ? this.keys[line] : this.queries[line];
      const text = (row ? this.cols : this.rows)[other];
      rows.push([`${this.codec.text(this.codes[line])}  head ${head.number}`, `${row ? "→" : "←"} ${other} · `, text]);
    }
    return rows;
  }

  table() {
    const alone = this.alone;
    const lines = alone ? this._linesOf(alone, TABLE_ROWS) : strongest(this.visibleLines(), this.codes, TABLE_ROWS);
    return {
      caption: `${this.header.title}: the strongest lines ${alone ? "of one token" : "in view"}`,
      columns: ["query", "key", "head", "weight"],
      rows: lines.map(([line, head]) => [
        [`${this.queries[line]} `, this.rows[this.queries[line]]], [`${this.keys[line]} `, this.cols[this.keys[line]]],
        String(head.number), this.codec.text(this.codes[line])]),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  draw(ctx) {
    const drawn = drawLines(ctx, this);
    const lines = `${drawn.toLocaleString("en")} lines`;
    const cut = this.leftOut ? `; ${this.leftOut.toLocaleString("en")} weaker ones are left out` : "";
    const told = this.alone ? "Bars under tokens add up its weights over the heads."
      : "A line's colour is its head; the stronger it is, the larger the weight.";
    this.stage.status(`${lines}${cut}. ${told}`);
  }

  drawOver() {}

  svg() {
    return linesAsSvg(this);
  }

  destroy() {}
}
