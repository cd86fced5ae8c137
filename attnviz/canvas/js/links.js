// Every head's weights from a floor up, indexed by query and by key.

/**
 * @typedef {import("./payload.js").Token} Token
 * @typedef {object} LinkHead
 * @property {number} number
 * @property {number} i its index among the heads sent
 * @property {Uint32Array} starts where each query's lines begin
 * @property {{starts: Uint32Array, lines: Uint32Array} | null} byKey
 */

export class Links {
  /**
   * @param {LinkHead[]} heads @param {Uint32Array} keys each line's key
   * @param {Uint16Array} codes each line's weight @param {number} n_q @param {number} n_k
   */
  constructor(heads, keys, codes, n_q, n_k) {
    this.keys = keys;
    this.codes = codes;
    this.n_k = n_k;
    this.queries = new Uint32Array(keys.length);
    for (const head of heads) {
      for (let q = 0; q < n_q; q++) this.queries.fill(q, head.starts[q], head.starts[q + 1]);
    }
  }

  /** A head's lines by key: where each key's begin, and which they are. @param {LinkHead} head */
  _byKey(head) {
    if (head.byKey) return head.byKey;
    const [start, stop] = [head.starts[0], head.starts[head.starts.length - 1]];
    const starts = new Uint32Array(this.n_k + 1);
    for (let line = start; line < stop; line++) starts[this.keys[line] + 1]++;
    for (let j = 0; j < this.n_k; j++) starts[j + 1] += starts[j];
    const at = starts.slice();
    const lines = new Uint32Array(stop - start);
    for (let line = start; line < stop; line++) lines[at[this.keys[line]]++] = line;
    head.byKey = { starts, lines };
    return head.byKey;
  }

  /** A token's lines. @param {LinkHead} head @param {Token} token @param {number} least code */
  of(head, token, least) {
    /** @type {number[]} */
    const found = [];
    const take = (/** @type {number} */ line) => { if (this.codes[line] >= least) found.push(line); };
    if (token.side === "row") {
      for (let l = head.starts[token.index]; l < head.starts[token.index + 1]; l++) take(l);
    } else {
      const { starts, lines } = this._byKey(head);
      for (let i = starts[token.index]; i < starts[token.index + 1]; i++) take(lines[i]);
    }
    return found;
  }

  /**
   * Lines with an end on screen.
   * @param {LinkHead} head @param {number[]} rows first and one past the last @param {number[]} cols
   * @param {number} least code
   */
  within(head, rows, cols, least) {
    /** @type {number[]} */
    const found = [];
    for (let l = head.starts[rows[0]]; l < head.starts[rows[1]]; l++) {
      if (this.codes[l] >= least) found.push(l);
    }
    const { starts, lines } = this._byKey(head);
    for (let i = starts[cols[0]]; i < starts[cols[1]]; i++) {
      const line = lines[i];
      const query = this.queries[line];
      if (this.codes[line] >= least && (query < rows[0] || query >= rows[1])) found.push(line);
    }
    return found;
  }
}

/**
 * The strongest of several heads' lines.
 * @param {{head: LinkHead, lines: number[]}[]} found @param {Uint16Array} codes @param {number} most
 * @returns {[number, LinkHead][]}
 */
export function strongest(found, codes, most) {
  const all = found.flatMap(({ head, lines }) => lines.map((line) => /** @type {[number, LinkHead]} */ ([line, head])));
  return all.sort((a, b) => codes[b[0]] - codes[a[0]]).slice(0, most);
}

/**
 * Leave out weak lines, in place, until there are no more than can be drawn at once.
 * @param {{lines: number[]}[]} found @param {Uint16Array} codes @param {number} most
 * @returns {number} how many are left out
 */
export function keepStrongest(found, codes, most) {
  const total = found.reduce((sum, { lines }) => sum + lines.length, 0);
  if (total <= most) return 0;
  const counts = new Uint32Array(256); // by the upper byte of the code, which rises with the weight
  for (const { lines } of found) for (const line of lines) counts[codes[line] >> 8]++;
  let least = 255;
  for (let kept = 0; least > 0 && kept + counts[least] <= most; least--) kept += counts[least];
  let kept = 0;
  for (const entry of found) {
    entry.lines = entry.lines.filter((line) => codes[line] >> 8 > least);
    kept += entry.lines.length;
  }
  return total - kept;
}
