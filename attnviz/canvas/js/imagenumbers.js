// The numbers of the image view in words: its tooltip and its table.

import { shortNumber } from "./codecs.js";
import { patchPercent } from "./imageweights.js";

/** @typedef {import("./image.js").ImageMode} ImageMode */

const IMAGE_TABLE = 300; // keys in the table

/** The tooltip of a key. @param {ImageMode} mode @param {number} key @returns {import("./mode.js").TipRow[]} */
export function describePatch(mode, key) {
  const { query, header, row, weights } = mode;
  if (!header) return [];
  const rows = /** @type {import("./mode.js").TipRow[]} */ ([
    ["query", "", header.selfAttention ? mode.nameOf(query) : header.rowNames[query]], ["key", "", mode.nameOf(key)],
    ["weight", mode.weightText(key)]]);
  if (mode.cellOf(key) && !weights.isMasked(query, key)) rows.push(["share of the patches", patchShare(row, key)]);
  if (query === key) {
    const [best, most] = strongestPatch(mode);
    rows.push(["strongest patch", `${shortNumber(most)} · `, mode.nameOf(best)]);
    if (header.first > 0 && key !== 0 && weights.has(0)) rows.push([`from ${header.colNames[0]}`, weights.text(0, key, row)]);
  }
  return rows;
}

/** @param {import("./imageweights.js").PatchRow} row @param {number} key */
function patchShare({ weights, onPatches }, key) {
  return onPatches ? patchPercent((weights[key] || 0) / onPatches) : "0%";
}

/** The patch with the largest weight. @param {ImageMode} mode @returns {[number, number]} token and weight */
function strongestPatch({ row: { weights }, weights: { patches: { first, n } } }) {
  let best = first;
  for (let token = first; token < first + n; token++) if ((weights[token] || 0) > (weights[best] || 0)) best = token;
  return [best, weights[best] || 0];
}

/** @param {ImageMode} mode @returns {import("./mode.js").Table} */
export function tableOfPatches(mode) {
  const { header, row } = mode;
  const tokens = header ? header.colNames.map((_, i) => i) : [];
  tokens.sort((a, b) => (row.weights[b] || 0) - (row.weights[a] || 0) || a - b);
  return {
    caption: `${header?.title}: ${mode.heading}, highest weight first`,
    columns: ["key", "weight", "share of the patches"],
    rows: tokens.slice(0, IMAGE_TABLE).map((token) =>
      [mode.nameOf(token), mode.weightText(token), mode.cellOf(token) ? patchShare(row, token) : "–"]),
  };
}
