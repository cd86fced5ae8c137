// Heads as lines from queries to keys: only what is on screen and over the threshold is drawn.

import { codecOf, significantCode } from "./numbers.js";
import { headColour, mix } from "./colours.js";
import { element, plainButton, slider } from "./dom.js";
import { keepStrongest, Links, strongest } from "./links.js";
import { fitted, spoken } from "./stage.js";

const ROW = 20; // px a token
const TOP = 26;
const STRENGTHS = 6; // opacities that lines are drawn in
const MOST_DRAWN = 30_000;
const TABLE_ROWS = 200;
const SVG = "http://www.w3.org/2000/svg";

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
      this.chips[i].style.setProperty("--colour", this._colour(head));
    });
    this.stage.repaint();
    this.stage.fillTable();
  }

  themed() {
    if (this.heads) this._chipsShown();
  }

  _colour(head) {
    return headColour(this.stage.theme, head.i, this.heads.length);
  }

  _active() {
    return this.heads.filter((head) => !this.hidden.has(head.number));
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    const { width } = this.stage;
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

  contentHeight() {
    return TOP + Math.max(this.rows?.length ?? 0, this.cols?.length ?? 0) * ROW + 8;
  }

  _y(index) {
    return TOP + (index + 0.5) * ROW - this.stage.top;
  }

  get _x0() {
    return this.left + this.inset;
  }

  get _x1() {
    return this.right - this.inset;
  }

  _window(n) {
    const first = Math.floor((this.stage.top - TOP) / ROW);
    const last = Math.ceil((this.stage.top + this.stage.height - TOP) / ROW);
    return [Math.max(0, Math.min(n, first)), Math.max(0, Math.min(n, last))];
  }

  /** @returns {Token | null} */
  _tokenAt(x, y) {
    const index = Math.floor((y + this.stage.top - TOP) / ROW);
    if (y < TOP - 4 && this.stage.top === 0) return null;
    if (x < this._x0 && index >= 0 && index < this.rows.length) return { side: "row", index };
    if (x > this._x1 && index >= 0 && index < this.cols.length) return { side: "col", index };
    return null;
  }

  get _alone() {
    return this.hovered ?? this.held;
  }

  // ---- the hand ------------------------------------------------------------------------------

  hover(x, y) {
    const token = this._tokenAt(x, y);
    this.stage.picture.style.cursor = token ? "pointer" : "";
    const changed = token?.side !== this.hovered?.side || token?.index !== this.hovered?.index;
    this.hovered = token;
    if (changed) this.stage.repaint();
    if (token) this.stage.tip(x, y, this.describe(token));
    else this.stage.hideTip();
  }

  leave() {
    this.stage.hideTip();
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
    const now = this._alone;
    if (event.key === "Escape") {
      this.hovered = null;
      this.hold(null);
    } else if (event.key === "Enter" || event.key === " ") {
      if (now) this.hold(now);
    } else if (["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].includes(event.key)) {
      const side = /** @type {Token["side"]} */ ({ ArrowLeft: "row", ArrowRight: "col" }[event.key] ?? now?.side ?? "row");
      const n = side === "row" ? this.rows.length : this.cols.length;
      const step = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
      const index = Math.max(0, Math.min(n - 1, now ? now.index + step : 0));
      const y = TOP + index * ROW;
      const { scroll, top, height } = this.stage;
      if (y < top || y + ROW > top + height) scroll.scrollTop = y - height / 2;
      this.hovered = { side, index };
      this.stage.say(spoken(this.describe(this.hovered)));
      this.stage.repaint();
    } else return false;
    return true;
  }

  /** The strongest lines of a token. @param {Token} token @param {number} [most] */
  _linesOf(token, most = 8) {
    return strongest(this._active().map((head) => ({ head, lines: this.links.of(head, token, this._least) })),
      this.codes, most);
  }

  /** Lines to draw: one list a head. @returns {{head: any, lines: number[]}[]} */
  visibleLines() {
    const rows = this._window(this.rows.length);
    const cols = this._window(this.cols.length);
    const found = this._active().map((head) => ({
      head,
      lines: this._alone ? this.links.of(head, this._alone, this._least) : this.links.within(head, rows, cols, this._least),
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
    const alone = this._alone;
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

  /** Lines in groups of one colour and one opacity. */
  _groups() {
    const groups = [];
    this.drawn = 0;
    for (const { head, lines } of this.visibleLines()) {
      const by = Array.from({ length: STRENGTHS }, () => /** @type {number[]} */ ([]));
      for (const line of lines) {
        const weight = Math.min(1, this.codec.values[this.codes[line]]);
        by[Math.min(STRENGTHS - 1, Math.floor(Math.sqrt(weight) * STRENGTHS))].push(line);
      }
      by.forEach((some, i) => {
        if (some.length) groups.push({ colour: this._colour(head), alpha: (i + 1) / STRENGTHS, width: 0.6 + i * 0.3, lines: some });
      });
      this.drawn += lines.length;
    }
    const crowd = Math.max(0.35, Math.min(1, 500 / this.drawn)); // many lines must not hide each other
    for (const group of groups) group.alpha *= crowd;
    return groups.sort((a, b) => a.alpha - b.alpha); // strong ones on top, whichever head's
  }

  draw(ctx) {
    const [x0, x1] = [this._x0, this._x1];
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, this.stage.top ? 0 : TOP - 6, this.stage.width, this.stage.height);
    ctx.clip();
    for (const { colour, alpha, width, lines } of this._groups()) {
      ctx.strokeStyle = colour;
      ctx.globalAlpha = alpha;
      ctx.lineWidth = width;
      ctx.beginPath();
      for (const line of lines) {
        ctx.moveTo(x0, this._y(this.queries[line]));
        ctx.lineTo(x1, this._y(this.keys[line]));
      }
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
    this._tokens(ctx, "row", this.rows);
    this._tokens(ctx, "col", this.cols);
    ctx.restore();
    if (!this.stage.top) {
      ctx.font = this.stage.font(11);
      ctx.fillStyle = this.stage.theme.faint;
      ctx.textAlign = "right";
      ctx.fillText("query", x0 - 8, 10);
      ctx.textAlign = "left";
      ctx.fillText("key", x1 + 8, 10);
    }
    this._status();
  }

  _status() {
    const lines = `${this.drawn.toLocaleString("en")} lines`;
    const cut = this.leftOut ? `; ${this.leftOut.toLocaleString("en")} weaker ones are left out` : "";
    this.stage.status(lines + cut);
  }

  _tokens(ctx, side, names) {
    const { theme } = this.stage;
    const row = side === "row";
    const alone = this._alone;
    const [first, last] = this._window(names.length);
    ctx.font = this.stage.font(13);
    const shares = alone && alone.side !== side ? this._sharesOf(alone) : null;
    const room = (row ? this._x0 : this.stage.width - this._x1) - 18 - 30;
    for (let i = first; i < last; i++) {
      const y = this._y(i);
      if (shares?.has(i)) this._share(ctx, shares.get(i), row, y);
      const chosen = alone?.side === side && alone.index === i;
      if (chosen) {
        ctx.fillStyle = mix(theme.background, theme.mark, 0.2);
        ctx.fillRect(row ? 0 : this._x1 + 2, y - ROW / 2, row ? this._x0 - 2 : this.stage.width - this._x1, ROW);
      }
      const dim = alone && !chosen && (alone.side === side || !shares?.has(i));
      ctx.fillStyle = dim ? theme.faint : theme.text;
      ctx.textAlign = row ? "right" : "left";
      ctx.fillText(fitted(ctx, names[i], room), row ? this._x0 - 10 : this._x1 + 10, y);
      ctx.fillStyle = theme.faint;
      ctx.font = this.stage.font(10);
      ctx.textAlign = row ? "left" : "right";
      ctx.fillText(String(i), row ? 4 : this.stage.width - 6, y);
      ctx.font = this.stage.font(13);
    }
  }

  /** Of each token across, the weights of each head. */
  _sharesOf(alone) {
    const shares = new Map();
    for (const [line, head] of this._linesOf(alone, Infinity)) {
      const other = alone.side === "row" ? this.keys[line] : this.queries[line];
      if (!shares.has(other)) shares.set(other, []);
      shares.get(other).push([head, Math.min(1, this.codec.values[this.codes[line]])]);
    }
    return shares;
  }

  _share(ctx, parts, row, y) {
    const wide = (row ? this._x0 : this.stage.width - this._x1) - 36;
    const each = wide / this._active().length;
    const active = this._active();
    for (const [head, weight] of parts) {
      ctx.globalAlpha = 0.15 + 0.6 * weight;
      ctx.fillStyle = this._colour(head);
      const at = active.indexOf(head) * each;
      ctx.fillRect(row ? this._x0 - 4 - wide + at : this._x1 + 4 + at, y - ROW / 2 + 2, each, ROW - 4);
    }
    ctx.globalAlpha = 1;
  }

  drawOver() {}

  svg() {
    const { width, height, theme } = this.stage;
    const made = (tag, attributes, text) => {
      const node = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
      if (text !== undefined) node.textContent = text;
      return node;
    };
    const root = made("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "font-family": theme.font, "font-size": 13 });
    root.append(made("rect", { width, height, fill: theme.background }));
    for (const { colour, alpha, width: thick, lines } of this._groups()) {
      const d = lines.map((line) => `M${this._x0.toFixed(1)} ${this._y(this.queries[line])}L${this._x1.toFixed(1)} ${this._y(this.keys[line])}`).join("");
      root.append(made("path", { d, fill: "none", stroke: colour, "stroke-opacity": alpha.toFixed(2), "stroke-width": thick }));
    }
    const names = (list, x, anchor) => {
      const [first, last] = this._window(list.length);
      for (let i = first; i < last; i++) {
        root.append(made("text", { x, y: this._y(i), "text-anchor": anchor, "dominant-baseline": "middle", fill: theme.text }, list[i]));
      }
    };
    names(this.rows, this._x0 - 10, "end");
    names(this.cols, this._x1 + 10, "start");
    return root;
  }

  destroy() {}
}
