// The heads of a grid as they were sent. The last few grids are kept for as long as the tab is open,
// over all canvases, so that a click on a head needs no thumbnails from the server.

const GRIDS_KEPT = 4;

/** @typedef {import("./gridlayout.js").Head} Head */

/**
 * @typedef {object} GridContent
 * @property {string} id
 * @property {import("./payload.js").LayerHeader[]} layers
 * @property {import("./payload.js").MetricHeader[]} metrics
 * @property {Uint8Array} cells of all thumbnails
 * @property {Float32Array} values of each metric, head after head
 */

/** @type {Map<string, GridContent>} */
const keptGrids = new Map();

/** A grid: from its message, or kept from before; null if there is none. @param {import("./payload.js").GridPayload} payload */
export function gridContent({ header: { id, layers, metrics }, arrays: { cells, values } }) {
  if (layers && metrics && cells && values) {
    keptGrids.delete(id);
    keptGrids.set(id, { id, layers, metrics, cells, values });
    for (const old of [...keptGrids.keys()].slice(0, -GRIDS_KEPT)) keptGrids.delete(old);
  }
  return keptGrids.get(id) ?? null;
}

/** Forget all grids: for tests. */
export function forgetGrids() {
  keptGrids.clear();
}

/** The heads of a grid, without positions. @param {GridContent} content @returns {Head[]} */
export function headsOf({ layers, metrics, values }) {
  const several = new Set(layers.map((block) => block.kind)).size > 1;
  /** @type {Head[]} */
  const heads = [];
  for (const block of layers) {
    const number = /\d+$/.exec(block.title)?.[0] ?? "";
    const short = (several ? block.kind[0].toUpperCase() : "L") + number;
    const { rows = 0, cols = 0, at = 0 } = block;
    for (let h = 0; h < (block.heads ?? 0); h++) {
      const i = heads.length;
      const numbers = values.subarray(i * metrics.length, (i + 1) * metrics.length);
      heads.push({
        layer: block.index, head: h, block, short, at: at + h * rows * cols,
        numbers, pending: block.pending ?? false,
        x: 0, y: 0, w: 0, h: 0, faded: false, image: null,
      });
    }
  }
  return heads;
}
