// One head's attention, computed from its Q, K, V and score modifiers: the arithmetic of
// ../../trace/compute.py and ../../trace/modifiers.py, a row at a time, in double precision.

/**
 * A mask or bias, as in ../../trace/terms.py, of one head.
 * @typedef {object} IntervalTerm row i sees keys lo[i] <= j < hi[i]; all others get `fill`
 * @property {"interval"} form
 * @property {ArrayLike<number>} lo
 * @property {ArrayLike<number>} hi
 * @property {number} fill
 *
 * @typedef {object} DenseTerm one number a cell, or one a key for all rows
 * @property {"dense"} form
 * @property {ArrayLike<number>} values (n_q or 1, n_k)
 * @property {number | null} maskedFrom cells at or below it are masked
 *
 * @typedef {object} RelativeTerm one number a distance: cell (i, j) gets values[j - i + n_q - 1]
 * @property {"relative"} form
 * @property {ArrayLike<number>} values (n_q + n_k - 1,)
 * @property {number | null} maskedFrom
 *
 * @typedef {IntervalTerm | DenseTerm | RelativeTerm} ScoreTerm
 */

/**
 * What a head is made of. Either q, k and the modifiers are there, or the module's own weights.
 * @typedef {object} HeadParts
 * @property {number} nQ
 * @property {number} nK
 * @property {number} d width of queries and keys @property {number} dV width of values
 * @property {Float32Array | null} q (n_q, d)
 * @property {Float32Array | null} k (n_k, d)
 * @property {Float32Array | null} v (n_k, d_v)
 * @property {number} scaling
 * @property {number | null} softcap
 * @property {ScoreTerm[]} terms
 * @property {ArrayLike<number> | null} sink (1 or n_q,) scores of the sink
 * @property {boolean} sinkGatesOutput the sink scales a row's output and not its weights
 * @property {Float32Array | null} weights (n_q, n_k) of a layer whose weights are not computed
 * @property {Float32Array | null} scores (n_q, n_k) of such a layer, -inf where masked, if known
 * @property {Float32Array | null} output (n_q, d_v) of such a layer, if it is not weights @ V
 */

/**
 * One query's row.
 * @typedef {object} AttentionRow
 * @property {Float64Array} weights (n_k,)
 * @property {Float64Array | null} scores (n_k,) what the softmax was given; null where not known
 * @property {Uint8Array | null} masked (n_k,) 1 where the query may not see the key; null if unknown
 * @property {number} highest the largest score, the sink's too @property {number} total of the softmax
 */

const HARD_MASK = -1e30; // no score makes up for this
const NEGLIGIBLE = 2 ** -24; // weights below this are nothing beside 1 in float32

export class HeadAttention {
  /** @param {HeadParts} parts */
  constructor(parts) {
    this.parts = parts;
    const masks = parts.terms.filter(isMask);
    this.hasMask = masks.length > 0;
    this.masksAreHard = masks.every((term) => lowestOf(term) <= HARD_MASK);
    /** @type {IntervalTerm[]} */
    this.ranges = []; // outside of which a row that sees any key has no weight
    /** @type {ScoreTerm[]} */
    this.otherTerms = [];
    for (const term of parts.terms) {
      if (term.form === "interval" && term.fill <= HARD_MASK) this.ranges.push(term);
      else this.otherTerms.push(term);
    }
  }

  /** @param {number} i a query @param {number} j a key */
  dot(i, j) {
    const { q, k, d } = this.parts;
    if (!q || !k) return NaN;
    let sum = 0;
    for (let c = 0, a = i * d, b = j * d; c < d; c++) sum += q[a + c] * k[b + c];
    return sum;
  }

  /** Scaled and capped, before anything is added. @param {number} i @param {number} j */
  scaled(i, j) {
    const { scaling, softcap } = this.parts;
    const s = this.dot(i, j) * scaling;
    return softcap === null ? s : softcap * Math.tanh(s / softcap);
  }

  /** @param {number} i a query @returns {AttentionRow} */
  row(i) {
    const { nK, weights, scores } = this.parts;
    if (weights) {
      const own = scores ? Float64Array.from(scores.subarray(i * nK, (i + 1) * nK)) : null;
      return {
        weights: Float64Array.from(weights.subarray(i * nK, (i + 1) * nK)),
        scores: own,
        masked: own && Uint8Array.from(own, (s) => (s === -Infinity ? 1 : 0)),
        highest: NaN, total: NaN,
      };
    }
    const range = this._visibleRange(i);
    if (range) {
      const row = this._computed(i, range[0], range[1], this.otherTerms);
      if (!row.masked?.every(Boolean)) return row;
    }
    return this._computed(i, 0, nK, this.parts.terms); // a row that sees nothing: fills decide
  }

  /** Keys outside of which a row that sees any key has no weight; null if it sees none. @param {number} i @returns {[number, number] | null} */
  _visibleRange(i) {
    let [lo, hi] = [0, this.parts.nK];
    for (const term of this.ranges) {
      lo = Math.max(lo, term.lo[i]);
      hi = Math.min(hi, term.hi[i]);
    }
    return lo < hi ? [lo, hi] : null;
  }

  /**
   * A row of which only the keys from lo to hi - 1 are looked at, with these terms.
   * @param {number} i @param {number} lo @param {number} hi @param {ScoreTerm[]} terms
   * @returns {AttentionRow}
   */
  _computed(i, lo, hi, terms) {
    const { nK } = this.parts;
    const scores = new Float64Array(nK);
    const masked = new Uint8Array(nK);
    scores.fill(-Infinity, 0, lo).fill(-Infinity, hi);
    masked.fill(1, 0, lo).fill(1, hi);
    for (let j = lo; j < hi; j++) scores[j] = this.scaled(i, j);
    for (const term of terms) {
      if (isMask(term)) for (let j = lo; j < hi; j++) if (this._isMasked(term, i, j)) masked[j] = 1;
    }
    for (const term of terms) {
      for (let j = lo; j < hi; j++) {
        const more = this._added(term, i, j);
        // a fill absorbs the score, in the model's single precision
        if (more !== 0) scores[j] = masked[j] ? Math.fround(Math.fround(scores[j]) + more) : scores[j] + more;
      }
    }
    return this._softmax(i, scores, masked);
  }

  /** @param {number} i @param {Float64Array} scores @param {Uint8Array} masked @returns {AttentionRow} */
  _softmax(i, scores, masked) {
    const { nK, sinkGatesOutput } = this.parts;
    const sink = sinkGatesOutput ? null : this.sinkOf(i);
    let highest = sink ?? -Infinity;
    for (let j = 0; j < nK; j++) if (scores[j] > highest) highest = scores[j];
    const weights = new Float64Array(nK);
    let total = 0;
    if (highest > -Infinity) { // a row with no key at all gives zeros
      total = sink === null ? 0 : Math.exp(sink - highest);
      for (let j = 0; j < nK; j++) total += weights[j] = Math.exp(scores[j] - highest);
      for (let j = 0; j < nK; j++) weights[j] /= total;
    }
    if (!this.masksAreHard && !masked.every(Boolean)) { // a mild fill does not see to it that no key wins
      for (let j = 0; j < nK; j++) if (weights[j] >= NEGLIGIBLE) masked[j] = 0;
    }
    return { weights, scores, masked: this.hasMask ? masked : null, highest, total };
  }

  /** @param {ScoreTerm} term @param {number} i @param {number} j */
  _added(term, i, j) {
    if (term.form === "interval") return j < term.lo[i] || j >= term.hi[i] ? term.fill : 0;
    return term.values[this._placeIn(term, i, j)];
  }

  /** @param {DenseTerm | RelativeTerm} term @param {number} i @param {number} j */
  _placeIn(term, i, j) {
    const { nQ, nK } = this.parts;
    if (term.form === "relative") return j - i + nQ - 1;
    return term.values.length === nK ? j : i * nK + j;
  }

  /** @param {ScoreTerm} term @param {number} i @param {number} j */
  _isMasked(term, i, j) {
    if (term.form === "interval") return j < term.lo[i] || j >= term.hi[i];
    return term.values[this._placeIn(term, i, j)] <= /** @type {number} */ (term.maskedFrom);
  }

  /** @param {number} i @returns {number | null} */
  sinkOf(i) {
    const { sink } = this.parts;
    return sink && sink[sink.length === 1 ? 0 : i];
  }

  get hasOutput() {
    return Boolean(this.parts.output || this.parts.v);
  }

  /** What the head makes of a query. @param {number} i @param {AttentionRow} [row] @returns {Float64Array} (d_v,) */
  output(i, row = this.row(i)) {
    const { nK, dV, v, output, sinkGatesOutput } = this.parts;
    if (output) return Float64Array.from(output.subarray(i * dV, (i + 1) * dV));
    const sum = new Float64Array(dV);
    if (!v) return sum.fill(NaN);
    for (let j = 0; j < nK; j++) {
      const w = row.weights[j];
      if (w !== 0) for (let c = 0; c < dV; c++) sum[c] += w * v[j * dV + c];
    }
    const sink = this.sinkOf(i);
    if (sinkGatesOutput && sink !== null) {
      const gate = 1 / (1 + Math.exp(sink - row.highest - Math.log(row.total)));
      for (let c = 0; c < dV; c++) sum[c] *= gate;
    }
    return sum;
  }
}

/** @param {ScoreTerm} term */
function isMask(term) {
  return term.form === "interval" || term.maskedFrom !== null;
}

/** @param {ScoreTerm} term @returns {number} a masked cell has this or less */
function lowestOf(term) {
  return term.form === "interval" ? term.fill : term.maskedFrom ?? -Infinity;
}
