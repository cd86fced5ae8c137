// Why a query attends to a key: q, each key's k, their product element by element, and its sum.

import { codecOf, MASKED } from "./codecs.js";
import { dropdown, element } from "./dom.js";
import { placeOn, tokenOn } from "./hoverlink.js";
import { arrowKeys, Mode } from "./mode.js";
import { drawNeuron, drawNeuronOver, figure, HEAD, LINE } from "./neurondraw.js";

const SEND_AFTER = 400; // ms without another query until it is sent
const KEYS_IN_TABLE = 200;

/**
 * A key's line, or the query's where row is null; and a dimension in one of the two strips.
 * @typedef {{row: number | null, part: "k" | "product" | null, index: number}} NeuronItem
 */

/** @extends {Mode<NeuronItem>} */
export class NeuronMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    this.label = "Query and keys";
    /** @type {import("./payload.js").NeuronHeader | null} */
    this.header = null;
    /** @type {"position" | "weight"} */
    this.order = "position";
    this.query = -1;
    /** @type {number | null} */
    this.pending = null; // a query that the page is fetching
    /** @type {number[]} */
    this.shown = []; // keys, in order
    /** @type {import("./payload.js").NeuronArrays} */
    this.arrays = {
      q: new Float32Array(0), k: new Float32Array(0), dots: new Float32Array(0),
      scores: new Float32Array(0), weightCodes: new Uint16Array(0),
    };
    this.width = 1; // d_head
    this.codec = codecOf({ kind: "significant" });
    this.vectors = { most: 1, beyond: false };
    this.products = { most: 1, beyond: false };
    this.dotMost = 1;
    this.names = this.kx = this.px = this.fx = this.strip = this.figures = 0; // px, see layout
    this.input = element("input", { type: "number", min: 0, "aria-label": "Query",
      change: () => this.choose(Number(this.input.value)) });
    this.name = element("bdi", { class: "name" });
    this.timer = 0;
    const order = dropdown("Order of keys", [["position", "Keys by position"], ["weight", "Highest weight first"]],
      this.order, (value) => { this.order = value; this._arrange(); });
    this.setTools([element("label", { class: "slider" }, [element("span", {}, ["Query"]), this.input]), this.name, order]);
    this.keyActions = arrowKeys((dx, dy) => (dx ? this._stepQuery(dx) : this._stepKey(dy)));
  }

  /** @param {import("./payload.js").NeuronPayload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    const { pending } = this;
    this.pending = null;
    this.header = header;
    this.arrays = arrays;
    this.width = header.arrays.k.shape[1];
    this.codec = codecOf(header.weights);
    const same = before?.id === header.id;
    if (!same || before?.query !== header.query) this.query = pending ?? header.query;
    if (this.query < header.queries[0] || this.query >= header.queries[1]) this.query = header.query;
    this.label = `${header.title}: one query against ${header.keys[1] - header.keys[0]} keys. ` +
      "Left and right change the query, up and down move through the keys.";
    this.vectors = rangeOf(arrays.q, arrays.k);
    this.input.max = String(header.rowNames.length - 1);
    this._arrange();
    this.stage.resize();
    if (!same) this._revealOwnKey(header);
  }

  /** Order the keys of the query, and find the ranges of its numbers. */
  _arrange() {
    const { header, width } = this;
    if (!header) return;
    const [start, stop] = header.keys;
    const n = stop - start;
    this.shown = Array.from({ length: n }, (_, j) => j);
    const at = (this.query - header.queries[0]) * n;
    if (this.order === "weight") {
      const { weightCodes } = this.arrays;
      const rank = (/** @type {number} */ j) => (weightCodes[at + j] === MASKED ? -1 : weightCodes[at + j]);
      this.shown.sort((a, b) => rank(b) - rank(a) || a - b);
    }
    this.dotMost = this.arrays.dots.subarray(at, at + n).reduce((most, dot) => Math.max(most, Math.abs(dot)), 0) || 1;
    const products = new Float32Array(n * width);
    for (let j = 0; j < n; j++) {
      for (let i = 0; i < width; i++) products[j * width + i] = this.qAt(i) * this.kAt(j, i);
    }
    this.products = rangeOf(products);
    this.input.value = String(this.query);
    this.name.textContent = header.rowNames[this.query];
    const part = n < header.colNames.length ? `Keys ${start} to ${stop - 1} of ${header.colNames.length}. ` : "";
    this.stage.status(`${part}score = ${Number(header.scaling.toPrecision(4))} × Σ q∘k, then bias and mask; softmax over the row gives the weights.`);
    this.stage.repaint();
    this.stage.fillTable();
  }

  /** Scroll to the query's own key. @param {import("./payload.js").NeuronHeader} header */
  _revealOwnKey({ colNames, rowNames, keys }) {
    const own = this.query + colNames.length - rowNames.length - keys[0];
    const y = own * LINE - this.stage.height + HEAD + 3 * LINE;
    if (y > this.stage.top && colNames.length === rowNames.length) this.stage.scroll.scrollTop = y;
  }

  /** @param {number} query */
  choose(query) {
    const { header } = this;
    if (!header || !Number.isInteger(query)) return;
    const chosen = Math.max(0, Math.min(header.rowNames.length - 1, query));
    const [start, stop] = header.queries;
    if (chosen >= start && chosen < stop) {
      this.query = chosen;
      this._arrange();
    } else if (!header.offline) {
      this.pending = chosen; // the last picture stays until the answer is there
      this.stage.loading("Loading this query…");
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send("query", chosen), this.pending === chosen ? 0 : SEND_AFTER);
  }

  // ---- layout --------------------------------------------------------------------------------

  layout() {
    const { width } = this.stage;
    this.names = Math.min(130, width * 0.16);
    this.figures = Math.min(360, width * 0.36);
    this.strip = (width - this.names - this.figures - 42) / 2;
    this.kx = this.names + 14;
    this.px = this.kx + this.strip + 14;
    this.fx = this.px + this.strip + 14;
  }

  contentHeight() {
    return HEAD + this.shown.length * LINE + 6;
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** @param {number} i */
  qAt(i) {
    return this.arrays.q[(this.query - (this.header?.queries[0] ?? 0)) * this.width + i];
  }

  /** @param {number} j @param {number} i */
  kAt(j, i) {
    return this.arrays.k[j * this.width + i];
  }

  /** The numbers of the query and a key. @param {number} j */
  pair(j) {
    const [start, stop] = this.header?.keys ?? [0, 0];
    const at = (this.query - (this.header?.queries[0] ?? 0)) * (stop - start) + j;
    const { dots, scores, weightCodes } = this.arrays;
    return { dot: dots[at], score: scores[at], code: weightCodes[at] };
  }

  /** @param {number} j */
  texts(j) {
    const { dot, score, code } = this.pair(j);
    return {
      dot: figure(dot),
      score: score === -Infinity ? "masked" : figure(score),
      weight: code === MASKED ? "" : this.codec.text(code),
    };
  }

  /** A key's position and name. @param {number} j @returns {[number, string]} */
  keyName(j) {
    const at = j + (this.header?.keys[0] ?? 0);
    return [at, this.header?.colNames[at] ?? ""];
  }

  /** @param {NeuronItem} item @returns {import("./mode.js").TipRow[]} */
  describe({ row, part, index }) {
    const q = /** @type {[string, string]} */ ([`q[${index}]`, figure(this.qAt(index))]);
    if (row === null) {
      return part === "k" ? [["query", `${this.query} · `, this.header?.rowNames[this.query] ?? ""], q] : [];
    }
    const j = this.shown[row];
    const texts = this.texts(j);
    const [at, name] = this.keyName(j);
    const rows = /** @type {import("./mode.js").TipRow[]} */ ([["key", `${at} · `, name]]);
    if (part) {
      rows.push(q, [`k[${index}]`, figure(this.kAt(j, index))],
        ["product", figure(this.qAt(index) * this.kAt(j, index))]);
    }
    rows.push(["Σ q∘k", texts.dot], ["score", texts.score]);
    if (texts.weight) rows.push(["weight", texts.weight]);
    return rows;
  }

  /** @param {NeuronItem} item */
  tokensOf({ row }) {
    const { rowAxis, colAxis } = this.header ?? {};
    return { query: tokenOn(rowAxis, this.query), key: row === null ? null : tokenOn(colAxis, this.keyName(this.shown[row])[0]) };
  }

  /** The line of a key that is hovered in another canvas. @returns {number | null} */
  _litRow() {
    const { header, lit } = this;
    const key = header && lit && placeOn(header.colAxis, header.colNames.length, lit.key);
    const row = key === null ? -1 : this.shown.indexOf(key - (header?.keys[0] ?? 0));
    return row < 0 ? null : row;
  }

  /** @returns {import("./mode.js").Table} */
  table() {
    return {
      caption: `${this.header?.title}: query ${this.query} ${this.header?.rowNames[this.query]}`,
      columns: ["key", "Σ q∘k", "score", "weight"],
      rows: this.shown.slice(0, KEYS_IN_TABLE).map((j) => {
        const { dot, score, weight } = this.texts(j);
        const [at, name] = this.keyName(j);
        return [[`${at} `, name], dot, score, weight || "–"];
      }),
    };
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y @returns {NeuronItem | null} */
  itemAt(x, y) {
    const row = y < HEAD ? null : Math.floor((y - HEAD + this.stage.top) / LINE);
    const onQuery = y >= HEAD - 34 && y < HEAD - 8;
    if (row === null ? !onQuery : row >= this.shown.length) return null;
    for (const [part, left] of /** @type {const} */ ([["k", this.kx], ["product", this.px]])) {
      const index = Math.floor(((x - left) / this.strip) * this.width);
      if (x >= left && index >= 0 && index < this.width) return { row, part, index };
    }
    return { row, part: null, index: -1 };
  }

  /** @param {number} step */
  _stepQuery(step) {
    this.choose((this.pending ?? this.query) + step);
    this.stage.say(`query ${this.query} ${this.header?.rowNames[this.query]}`);
  }

  /** @param {number} step */
  _stepKey(step) {
    const row = Math.max(0, Math.min(this.shown.length - 1, (this.hovered?.row ?? -1) + step));
    const top = row * LINE;
    this.hoverByKey({ row, part: null, index: -1 }, { top, bottom: top + LINE + HEAD, scrollTo: top - 60 },
      () => [this.kx, HEAD + (row + 1) * LINE - this.stage.top]);
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    if (this.header) drawNeuron(ctx, this, this.header);
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    const row = this._litRow();
    if (this.hovered) drawNeuronOver(ctx, this, this.hovered);
    else if (row !== null) drawNeuronOver(ctx, this, { row, part: null, index: -1 });
  }

  /** @returns {import("./figure.js").FigureTexts} */
  figure() {
    const scaling = Number((this.header?.scaling ?? 1).toPrecision(4));
    return {
      title: `${this.stage.title}: query ${this.query} ${this.header?.rowNames[this.query] ?? ""}`,
      legends: [], note: `score = ${scaling} × Σ q∘k, then bias and mask; the softmax of a row of scores gives its weights.`,
    };
  }

  destroy() {
    super.destroy();
    clearTimeout(this.timer);
  }
}

/**
 * The range that colors span, and whether some numbers lie beyond it.
 * @param {Float32Array[]} lists
 */
function rangeOf(...lists) {
  const most = Math.max(...lists.map((list) => quantile(list, 0.995))) || 1;
  return { most, beyond: lists.some((list) => list.some((value) => Math.abs(value) > most * 1.005)) };
}

/** The absolute value below which a share of the numbers lie. @param {Float32Array} numbers @param {number} share */
function quantile(numbers, share) {
  const step = Math.max(1, Math.floor(numbers.length / 20_000));
  const sizes = [];
  for (let i = 0; i < numbers.length; i += step) sizes.push(Math.abs(numbers[i]));
  sizes.sort((a, b) => a - b);
  return sizes[Math.floor(share * (sizes.length - 1))] ?? 1;
}
