// Why a query looks where it looks: q, each key's k, their product element by element, and its sum.

import { codecOf, MASKED } from "./codecs.js";
import { dropdown, element } from "./dom.js";
import { drawNeuron, drawNeuronOver, figure, HEAD, LINE } from "./neurondraw.js";
import { spoken } from "./stage.js";

export class NeuronMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    this.order = "position";
    this.hovered = null; // {row, part, index}
    this.walked = -1; // where the picture was scrolled to when keys chose what is hovered
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
    this.vectors = rangeOf(this.q, this.k);
    this._build();
    this.stage.resize();
    if (!same) this._reveal();
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
    this.dotMost = this.dots.subarray(at, at + n).reduce((most, dot) => Math.max(most, Math.abs(dot)), 0) || 1;
    const products = new Float32Array(n * this.width);
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < this.width; i++) products[j * this.width + i] = this.qAt(i) * this.kAt(j, i);
    }
    this.products = rangeOf(products);
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
    const figures = Math.min(360, width * 0.36);
    const strips = width - this.names - figures - 42;
    this.kx = this.names + 14;
    this.strip = strips / 2;
    this.px = this.kx + this.strip + 14;
    this.fx = this.px + this.strip + 14;
    this.figures = figures;
  }

  naturalHeight() {
    return this.contentHeight();
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

  qAt(i) {
    return this.q[(this.query - this.header.queries[0]) * this.width + i];
  }

  kAt(j, i) {
    return this.k[j * this.width + i];
  }

  /** What the query and a key make together. */
  pair(j) {
    const n = this.header.keys[1] - this.header.keys[0];
    const at = (this.query - this.header.queries[0]) * n + j;
    return { dot: this.dots[at], score: this.scores[at], code: this.weightCodes[at] };
  }

  texts(j) {
    const { dot, score, code } = this.pair(j);
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
    this.walked = -1;
    this.stage.repaintOver();
    if (onQuery && part === "k") this._tipOfQuery(x, y, index);
    else if (row !== null) this.stage.tip(x, y, this.describe(row, part, index));
    else this.stage.hideTip();
  }

  _tipOfQuery(x, y, i) {
    this.stage.tip(x, y, [["query", `${this.query} · `, this.header.rowNames[this.query]], [`q[${i}]`, figure(this.qAt(i))]]);
  }

  /** @returns {import("./stage.js").TipRow[]} */
  describe(row, part, i) {
    const j = this.shown[row];
    const texts = this.texts(j);
    const at = j + this.header.keys[0];
    const rows = /** @type {import("./stage.js").TipRow[]} */ ([["key", `${at} · `, this.header.colNames[at]]]);
    if (part) {
      rows.push([`q[${i}]`, figure(this.qAt(i))], [`k[${i}]`, figure(this.kAt(j, i))],
        ["product", figure(this.qAt(i) * this.kAt(j, i))]);
    }
    rows.push(["Σ q∘k", texts.dot], ["score", texts.score]);
    if (texts.weight) rows.push(["weight", texts.weight]);
    return rows;
  }

  leave() {
    if (this.walked === this.stage.top) return;
    this.stage.hideTip();
    if (this.walked >= 0) return; // what keys chose stays
    this.hovered = null;
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
      this.walked = this.stage.top;
      const rows = this.describe(row, null, 0);
      this.stage.tip(this.kx, HEAD + (row + 1) * LINE - this.stage.top, rows);
      this.stage.say(spoken(rows));
      this.stage.repaintOver();
    } else return false;
    return true;
  }

  table() {
    return {
      caption: `${this.header.title}: query ${this.query} ${this.header.rowNames[this.query]}`,
      columns: ["key", "Σ q∘k", "score", "weight"],
      rows: this.shown.slice(0, 200).map((j) => {
        const { dot, score, weight } = this.texts(j);
        const at = j + this.header.keys[0];
        return [[`${at} `, this.header.colNames[at]], dot, score, weight || "–"];
      }),
    };
  }

  // ---- drawing -------------------------------------------------------------------------------

  themed() {
    this.stage.repaint();
  }

  draw(ctx) {
    if (this.header) drawNeuron(ctx, this);
  }

  drawOver(ctx) {
    if (this.hovered) drawNeuronOver(ctx, this, this.hovered);
  }

  destroy() {
    clearTimeout(this.timer);
  }
}

/**
 * What colors are measured by, and whether some numbers lie beyond it.
 * @param {Float32Array[]} lists
 */
function rangeOf(...lists) {
  const most = Math.max(...lists.map((list) => quantile(list, 0.995))) || 1;
  return { most, beyond: lists.some((list) => list.some((value) => Math.abs(value) > most * 1.005)) };
}

/** The size below which a share of the numbers lie. @param {Float32Array} numbers @param {number} share */
function quantile(numbers, share) {
  const step = Math.max(1, Math.floor(numbers.length / 20_000));
  const sizes = /** @type {number[]} */ ([]);
  for (let i = 0; i < numbers.length; i += step) sizes.push(Math.abs(numbers[i]));
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor(share * (sizes.length - 1))] ?? 1;
}
