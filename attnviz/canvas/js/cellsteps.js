// Where one weight comes from: the arithmetic of ../../analysis/weight_steps.py.

/**
 * @typedef {object} CellSteps
 * @property {number} dot @property {number} scaling @property {number} scaled
 * @property {number | null} softcap @property {number | null} capped
 * @property {number} added what biases, masks and edits add @property {number} score
 * @property {boolean} masked
 * @property {number} highest of the row @property {number} total of exp(score - highest), a sink's too
 * @property {number} weight @property {number} rank 1 for the row's largest weight
 * @property {number | null} share of the head's output at this query; those of a row add up to 1
 */

/**
 * @param {import("./headreading.js").HeadReading} reading @param {number | null} scaling null: not known
 * @param {number} query @param {number} key
 * @returns {CellSteps | null} null where a layer's scores are not known
 */
export function cellSteps(reading, scaling, query, key) {
  const { head } = reading;
  const { softcap, q, k } = head.parts;
  const row = reading.row(query);
  if (!q || !k || !row.scores || scaling === null) return null;
  const dot = head.dot(query, key);
  const scaled = dot * scaling;
  const capped = softcap === null ? null : softcap * Math.tanh(scaled / softcap);
  const [score, weight] = [row.scores[key], row.weights[key]];
  const highest = Number.isNaN(row.highest) ? row.scores.reduce((a, b) => Math.max(a, b), -Infinity) : row.highest;
  const total = Number.isNaN(row.total) ? row.scores.reduce((sum, s) => sum + Math.exp(s - highest), 0) : row.total;
  const masked = row.masked?.[key] === 1;
  return {
    dot, scaling, scaled, softcap, capped, score, masked, highest, total, weight,
    added: score - (capped ?? scaled),
    rank: 1 + row.weights.reduce((n, w) => n + (w > weight ? 1 : 0), 0),
    share: shareOf(reading, query, key),
  };
}

/** The part of weight · v along the output, over the output's length. @returns {number | null} */
function shareOf(/** @type {import("./headreading.js").HeadReading} */ reading, /** @type {number} */ query, /** @type {number} */ key) {
  const { v, dV } = reading.head.parts;
  const row = reading.row(query);
  if (!v) return null;
  const sum = new Float64Array(dV);
  row.weights.forEach((w, j) => { for (let c = 0; c < dV; c++) sum[c] += w * v[j * dV + c]; });
  const length = sum.reduce((total, x) => total + x * x, 0);
  if (!length) return null;
  let along = 0;
  for (let c = 0; c < dV; c++) along += v[key * dV + c] * sum[c];
  return (row.weights[key] * along) / length;
}
