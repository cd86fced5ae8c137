// A trace inside a page: its layers, and any of their heads made from what the page holds.

import { HeadAttention } from "./attention.js";

/**
 * @typedef {import("./tensors.js").TensorEntry} TensorEntry
 *
 * A mask or bias of a layer; its arrays have the heads in front, or 1 for all of them.
 * @typedef {object} TermEntry
 * @property {"interval" | "dense" | "relative"} form
 * @property {TensorEntry} [lo] @property {TensorEntry} [hi] @property {number | null} [fill] null: -inf
 * @property {TensorEntry} [values] @property {number | null} [maskedFrom]
 *
 * A text whose tokens a layer reads, as in ../strip.py; `names` is its place among the page's lists.
 * @typedef {object} TextEntry
 * @property {string} title
 * @property {"row" | "col" | null} side
 * @property {number} names
 * @property {number | null} written
 * @property {number | null} queries
 * @property {boolean} keys
 * @property {number[]} ids @property {import("./payload.js").OddToken[]} odd
 *
 * @typedef {object} LayerEntry
 * @property {number} index of the layer in the trace
 * @property {string} title
 * @property {"encoder" | "decoder" | "cross"} kind
 * @property {string} source @property {string} reason
 * @property {{word: string, color: string, text: string}} receipt
 * @property {number} heads @property {number} firstHead the number of the first head that is here
 * @property {number} nQ @property {number} nK @property {number} d @property {number} dV
 * @property {number} rows @property {number} cols places of its tokens among the page's lists
 * @property {TextEntry[]} texts
 * @property {TensorEntry | null} q @property {TensorEntry | null} k @property {TensorEntry | null} v
 * @property {number | null} scaling null: not known @property {number | null} softcap
 * @property {TermEntry[]} terms
 * @property {TensorEntry | null} sinks @property {boolean} sinkGatesOutput
 * @property {TensorEntry | null} weights @property {TensorEntry | null} scores
 * @property {TensorEntry | null} output
 * @property {Record<string, string>} helps the definition of each number of a token
 * @property {string[]} descriptions what each head does, in a sentence
 */

const HEADS_KEPT = 64;

export class PageTrace {
  /**
   * @param {LayerEntry[]} layers @param {string[][]} names
   * @param {import("./tensors.js").Tensors} tensors
   */
  constructor(layers, names, tensors) {
    this.layers = layers;
    this.names = names;
    this.tensors = tensors;
    /** @type {Map<string, Promise<HeadAttention>>} */
    this.heads = new Map();
  }

  /** @param {number} index @returns {LayerEntry} */
  layer(index) {
    const found = this.layers.find((one) => one.index === index);
    if (!found) throw new Error(`There is no layer ${index}.`);
    return found;
  }

  /** @param {number} layer index @param {number} head */
  head(layer, head) {
    const name = `${layer}/${head}`;
    let found = this.heads.get(name);
    this.heads.delete(name);
    this.heads.set(name, (found ??= this._made(this.layer(layer), head)));
    for (const key of this.heads.keys()) {
      if (this.heads.size <= HEADS_KEPT) break;
      this.heads.delete(key);
    }
    return found;
  }

  /** Unpack a layer, so that its heads come at once. @param {LayerEntry} layer */
  async unpack(layer) {
    for (const entry of [layer.q, layer.k, layer.v, layer.weights]) if (entry) await this.tensors.get(entry);
  }

  /** @param {LayerEntry} layer @param {number} head @returns {Promise<HeadAttention>} */
  async _made(layer, head) {
    if (layer.source === "refused") throw new Error(layer.reason);
    const at = head - layer.firstHead;
    const part = (/** @type {TensorEntry | null} */ entry) => this._ofHead(entry, at, layer.heads);
    const [q, k, v, weights, scores, output] = await Promise.all(
      [layer.q, layer.k, layer.v, layer.weights, layer.scores, layer.output].map(part));
    const { nQ, nK, d, dV, softcap, sinkGatesOutput } = layer;
    const terms = await Promise.all(layer.terms.map((term) => this._term(term, at, layer.heads)));
    const sink = await part(layer.sinks);
    const known = scores && !Number.isNaN(scores[0]); // some heads of an edited layer have none
    return new HeadAttention({
      nQ, nK, d, dV, q, k, v, scaling: layer.scaling ?? 1, softcap, terms, sink, sinkGatesOutput,
      weights, scores: known ? scores : null, output });
  }

  /** @param {TermEntry} term @param {number} head @param {number} heads @returns {Promise<import("./attention.js").ScoreTerm>} */
  async _term(term, head, heads) {
    if (term.form === "interval") {
      const [lo, hi] = await Promise.all([term.lo, term.hi].map((entry) =>
        this.tensors.get(/** @type {TensorEntry} */ (entry))));
      return { form: "interval", lo, hi, fill: term.fill ?? -Infinity };
    }
    const values = await this._ofHead(term.values ?? null, head, heads);
    return { form: term.form, values: values ?? [], maskedFrom: term.maskedFrom ?? null };
  }

  /**
   * The part of an array that serves a head: its own, or that of its group.
   * @param {TensorEntry | null} entry @param {number} head @param {number} heads
   */
  async _ofHead(entry, head, heads) {
    if (!entry) return null;
    const all = /** @type {Float32Array} */ (await this.tensors.get(entry));
    const own = entry.shape[0];
    const size = all.length / own;
    const at = Math.floor((head * own) / heads);
    return all.subarray(at * size, (at + 1) * size);
  }
}
