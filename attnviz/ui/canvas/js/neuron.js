// Why a query looks where it looks: q, each key's k, their product element by element, and its sum.

import { codecOf, MASKED } from "./numbers.js";
import { cssColour } from "./colours.js";
import { dropdown, element } from "./dom.js";
import { fitted, spoken } from "./stage.js";

const LINE = 22; // px a key
const HEAD = 92; // px above the keys: titles, and q itself

export class NeuronMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    this.order = "position";
    this.hovered = null; // {row, part, index}
    /** @type {Float32Array} */
    this.q = this.k = new Float32Array(0);
    /** @type {Uint16Array} */
    this.weightCodes = new Uint16Array(0);
    /** @type {Float32Array} */
    this.dots = this.scores = new Float32Array(0);
    this.tools = [];
    this.label = "Query and keys";
  }

  /** @param {import("./payload.js").Payload} payload */
  receive({ header, arrays }) {
    const asked = this.asked;
    this.asked = null;
    const same = this.header?.id === header.id;
    const told = this.header?.query !== header.query;
    this.header = header;
    Object.assign(this, arrays);
    this.width = header.arrays.k.shape[1];
    this.codec = codecOf(header.weights);
    if (!same || told || this.query === undefined) this.query = asked ?? header.query;
    if (this.query < header.queries[0] || this.query >= header.queries[1]) this.query = header.query;
    this.label = `${header.title}: one query against ${header.keys[1] - header.keys[0]} keys. ` +
      "Left and right change the query, up and down walk through the keys.";
    this._measure();
    this._build();
    this.stage.resize();
    if (!same) this._reveal();
  }

  /** The largest numbers, which the colours and bars are measured by. */
  _measure() {
    this.vectorMost = Math.max(quantile(this.q, 0.995), quantile(this.k, 0.995)) || 1;
    this.dotMost = this.dots.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  }

  _build() {
    const input = element("input", { type: "number", min: 0, max: this.header.rowNames.length - 1, value: this.query,
      "aria-label": "Query", change: () => this.choose(Number(input.value)) });
    this.input = input;
    this.name = element("bdi", { class: "name" });
    const order = dropdown("Order of keys", [["position", "Keys by position"], ["weight", "Highest weight first"]],
      this.order, (value) => { this.order = value; this._arrange(); });
    this.tools = [element("label", { class: "slider" }, [element("span", {}, ["Query"]), input]), this.name, order];
    this.stage.tools.replaceChildren(...this.tools);
    this._arrange();
  }

  _arrange() {
    const [start, stop] = this.header.keys;
    const n = stop - start;
    this.shown = Array.from({ length: n }, (_, j) => j);
    const at = (this.query - this.header.queries[0]) * n;
    if (this.order === "weight") {
      const rank = (j) => (this.weightCodes[at + j] === MASKED ? -1 : this.weightCodes[at + j]);
      this.shown.sort((a, b) => rank(b) - rank(a) || a - b);
    }
    this.input.value = String(this.query);
    this.name.textContent = this.header.rowNames[this.query];
    const part = n < this.header.colNames.length ? `Keys ${start} to ${stop - 1} of ${this.header.colNames.length}. ` : "";
    this.stage.status(`${part}score = ${Number(this.header.scaling.toPrecision(4))} × Σ q∘k, then bias and mask; the softmax of a row of scores gives its weights.`);
    this.stage.repaint();
    this.stage.fillTable();
  }

  /** Bring the query's own key into view. */
  _reveal() {
    const own = this.query + this.header.colNames.length - this.header.rowNames.length - this.header.keys[0];
    const y = own * LINE - this.stage.height + HEAD + 3 * LINE;
    if (y > this.stage.top && this.header.colNames.length === this.header.rowNames.length) this.stage.scroll.scrollTop = y;
  }

  /** @param {number} query */
  choose(query) {
    if (!Number.isInteger(query)) return;
    query = Math.max(0, Math.min(this.header.rowNames.length - 1, query));
    const [start, stop] = this.header.queries;
    if (query >= start && query < stop) {
      this.query = query;
      this._arrange();
    } else if (!this.header.offline) {
      this.asked = query; // the last picture stays until the answer is there
      this.stage.status("Fetching this query…");
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send("query", query), this.asked === query ? 0 : 400);
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    const { width } = this.stage;
    this.names = Math.min(130, width * 0.16);
    const figures = Math.min(330, width * 0.34);
    const strips = width - this.names - figures - 42;
    this.kx = this.names + 14;
    this.strip = strips / 2;
    this.px = this.kx + this.strip + 14;
    this.fx = this.px + this.strip + 14;
    this.figures = figures;
  }

  contentHeight() {
    return HEAD + (this.shown?.length ?? 0) * LINE + 6;
  }

  _rowAt(y) {
    if (y < HEAD) return null;
    const row = Math.floor((y - HEAD + this.stage.top) / LINE);
    return row < this.shown.length ? row : null;
  }

  _partAt(x) {
    for (const [part, left] of /** @type {[string, number][]} */ ([["k", this.kx], ["product", this.px]])) {
      const index = Math.floor(((x - left) / this.strip) * this.width);
      if (x >= left && index >= 0 && index < this.width) return { part, index };
    }
    return { part: null, index: -1 };
  }

  // ---- numbers -------------------------------------------------------------------------------

  _q(i) {
    return this.q[(this.query - this.header.queries[0]) * this.width + i];
  }

  _k(j, i) {
    return this.k[j * this.width + i];
  }

  /** What the query and a key make together. */
  _pair(j) {
    const n = this.header.keys[1] - this.header.keys[0];
    const at = (this.query - this.header.queries[0]) * n + j;
    return { dot: this.dots[at], score: this.scores[at], code: this.weightCodes[at] };
  }

  _texts(j) {
    const { dot, score, code } = this._pair(j);
    return {
      dot: figure(dot),
      score: score === -Infinity ? "masked" : figure(score),
      weight: code === MASKED ? "" : this.codec.text(code),
    };
  }

  // ---- the hand ------------------------------------------------------------------------------

  hover(x, y) {
    const row = this._rowAt(y);
    const onQuery = y >= HEAD - 34 && y < HEAD - 8;
    const { part, index } = this._partAt(x);
    this.hovered = row === null && !onQuery ? null : { row, part, index };
    this.stage.repaintOver();
    if (onQuery && part === "k") this._tipOfQuery(x, y, index);
    else if (row !== null) this.stage.tip(x, y, this.describe(row, part, index));
    else this.stage.hideTip();
  }

  _tipOfQuery(x, y, i) {
    this.stage.tip(x, y, [["query", `${this.query} · `, this.header.rowNames[this.query]], [`q[${i}]`, figure(this._q(i))]]);
  }

  /** @returns {import("./stage.js").TipRow[]} */
  describe(row, part, i) {
    const j = this.shown[row];
    const texts = this._texts(j);
    const at = j + this.header.keys[0];
    const rows = /** @type {import("./stage.js").TipRow[]} */ ([["key", `${at} · `, this.header.colNames[at]]]);
    if (part) {
      rows.push([`q[${i}]`, figure(this._q(i))], [`k[${i}]`, figure(this._k(j, i))],
        ["product", figure(this._q(i) * this._k(j, i))]);
    }
    rows.push(["Σ q∘k", texts.dot], ["score", texts.score]);
    if (texts.weight) rows.push(["weight", texts.weight]);
    return rows;
  }

  leave() {
    this.hovered = null;
    this.stage.hideTip();
    this.stage.repaintOver();
  }

  click() {}

  key(event) {
    const { key } = event;
    if (key === "ArrowLeft" || key === "ArrowRight") {
      this.choose((this.asked ?? this.query) + (key === "ArrowLeft" ? -1 : 1));
      this.stage.say(`query ${this.query} ${this.header.rowNames[this.query]}`);
    } else if (key === "ArrowUp" || key === "ArrowDown") {
      const row = Math.max(0, Math.min(this.shown.length - 1, (this.hovered?.row ?? -1) + (key === "ArrowUp" ? -1 : 1)));
      this.hovered = { row, part: null, index: -1 };
      const y = row * LINE;
      if (y < this.stage.top || y + LINE > this.stage.top + this.stage.height - HEAD) this.stage.scroll.scrollTop = y - 60;
      this.stage.say(spoken(this.describe(row, null, 0)));
      this.stage.repaintOver();
    } else return false;
    return true;
  }

  table() {
    return {
      caption: `${this.header.title}: query ${this.query} ${this.header.rowNames[this.query]}`,
      columns: ["key", "Σ q∘k", "score", "weight"],
      rows: this.shown.slice(0, 200).map((j) => {
        const { dot, score, weight } = this._texts(j);
        const at = j + this.header.keys[0];
        return [[`${at} `, this.header.colNames[at]], dot, score, weight || "–"];
      }),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  themed() {
    this.stage.repaint();
  }

  /** @param {number} value @param {number} most */
  _colour(value, most) {
    const place = Math.max(-1, Math.min(1, value / most));
    return cssColour(this.stage.theme.diverging[Math.round((place + 1) * 127.5)]);
  }

  _stripOf(ctx, x, y, height, read, most) {
    const each = this.strip / this.width;
    for (let i = 0; i < this.width; i++) {
      ctx.fillStyle = this._colour(read(i), most);
      ctx.fillRect(x + i * each, y, each + (each < 3 ? 0.5 : -0.5), height);
    }
  }

  draw(ctx) {
    if (!this.header) return;
    const { theme, top, height } = this.stage;
    const first = Math.max(0, Math.floor(top / LINE));
    const last = Math.min(this.shown.length, Math.ceil((top + height - HEAD) / LINE));
    let most = 0; // of the products in view
    for (let row = first; row < last; row++) {
      for (let i = 0; i < this.width; i++) most = Math.max(most, Math.abs(this._q(i) * this._k(this.shown[row], i)));
    }
    ctx.save();
    ctx.beginPath();
    ctx.rect(0, HEAD, this.stage.width, height - HEAD);
    ctx.clip();
    for (let row = first; row < last; row++) this._line(ctx, row, HEAD + row * LINE - top, most || 1);
    ctx.restore();
    this._heading(ctx);
    ctx.fillStyle = theme.border;
    ctx.fillRect(0, HEAD - 1, this.stage.width, 1);
  }

  _heading(ctx) {
    const { theme } = this.stage;
    ctx.font = this.stage.font(12, "600");
    ctx.fillStyle = theme.text;
    ctx.textAlign = "left";
    const y = 12;
    ctx.fillText("k of each key", this.kx, y);
    ctx.fillText("q∘k", this.px, y);
    ctx.textAlign = "right";
    const [dot, score, weight] = this._edges();
    ctx.fillText("Σ q∘k", dot, y);
    ctx.fillText("score", score, y);
    ctx.fillText("weight", weight, y);
    ctx.font = this.stage.font(11);
    ctx.fillStyle = theme.faint;
    ctx.textAlign = "left";
    const most = Number(this.vectorMost.toPrecision(3));
    ctx.fillText(fitted(ctx, `${this.width} dimensions, −${most} to ${most}`, this.strip), this.kx, y + 18);
    ctx.fillText(fitted(ctx, "element by element", this.strip), this.px, y + 18);
    ctx.font = this.stage.font(13, "600");
    ctx.fillStyle = theme.text;
    ctx.textAlign = "right";
    ctx.fillText(fitted(ctx, `q · ${this.header.rowNames[this.query]}`, this.names - 4), this.names + 4, HEAD - 22);
    this._stripOf(ctx, this.kx, HEAD - 33, 22, (i) => this._q(i), this.vectorMost);
  }

  /** Right edges of the three columns of figures. */
  _edges() {
    const third = this.figures / 3;
    return [this.fx + third - 12, this.fx + 2 * third - 12, this.fx + this.figures - 8];
  }

  _line(ctx, row, y, most) {
    const { theme } = this.stage;
    const j = this.shown[row];
    const at = j + this.header.keys[0];
    const pair = this._pair(j);
    const texts = this._texts(j);
    const masked = pair.code === MASKED;
    ctx.globalAlpha = masked ? 0.35 : 1;
    ctx.font = this.stage.font(13);
    ctx.fillStyle = theme.text;
    ctx.textAlign = "right";
    const middle = y + LINE / 2;
    ctx.fillText(fitted(ctx, this.header.colNames[at], this.names - 34), this.names + 4, middle);
    ctx.font = this.stage.font(10);
    ctx.fillStyle = theme.faint;
    ctx.textAlign = "left";
    ctx.fillText(String(at), 2, middle);
    this._stripOf(ctx, this.kx, y + 2, LINE - 4, (i) => this._k(j, i), this.vectorMost);
    this._stripOf(ctx, this.px, y + 2, LINE - 4, (i) => this._q(i) * this._k(j, i), most);
    const [dot, score, weight] = this._edges();
    const third = this.figures / 3;
    const size = pair.dot / this.dotMost;
    const half = Math.max(8, (third - 78) / 2); // bars and figures don't share room
    const middleX = dot - 62 - half;
    ctx.fillStyle = mixAlpha(this._colour(size, 1));
    ctx.fillRect(Math.min(middleX, middleX + size * half), y + 3, Math.abs(size * half), LINE - 6);
    if (!masked) {
      const share = Math.min(1, this.codec.values[pair.code] || 0);
      ctx.fillStyle = cssColour(theme.sequential[Math.round(64 + share * 120)]);
      ctx.globalAlpha = 0.75;
      ctx.fillRect(weight - third + 22, y + 3, share * Math.max(16, third - 86), LINE - 6);
      ctx.globalAlpha = 1;
    }
    ctx.font = this.stage.font(12);
    ctx.fillStyle = theme.text;
    ctx.textAlign = "right";
    ctx.fillText(texts.dot, dot, middle);
    ctx.fillText(texts.score, score, middle);
    ctx.fillText(texts.weight, weight, middle);
    ctx.globalAlpha = 1;
  }

  drawOver(ctx) {
    const at = this.hovered;
    if (!at) return;
    ctx.strokeStyle = this.stage.theme.mark;
    ctx.lineWidth = 1.5;
    if (at.row !== null) {
      const y = HEAD + at.row * LINE - this.stage.top;
      if (y < HEAD - LINE / 2) return;
      ctx.strokeRect(1, y + 0.5, this.stage.width - 2, LINE - 1);
    }
    if (at.index >= 0) {
      const each = this.strip / this.width;
      for (const x of [this.kx, this.px]) {
        ctx.strokeRect(x + at.index * each, HEAD - 34, Math.max(each, 2), this.stage.height - HEAD + 32);
      }
    }
  }

  destroy() {
    clearTimeout(this.timer);
  }
}

/** @param {number} value */
function figure(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.001 && size < 10_000 ? value.toPrecision(4) : value.toExponential(3);
}

/** @param {string} colour */
function mixAlpha(colour) {
  return colour.replace("rgb(", "rgba(").replace(")", ", 0.6)");
}

/** The size below which a share of the numbers lie. @param {Float32Array} numbers @param {number} share */
function quantile(numbers, share) {
  const step = Math.max(1, Math.floor(numbers.length / 20_000));
  const sizes = [];
  for (let i = 0; i < numbers.length; i += step) sizes.push(Math.abs(numbers[i]));
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor(share * (sizes.length - 1))] ?? 1;
}
