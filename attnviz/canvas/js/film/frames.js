// What the browser keeps of a training: the heads at each step, so that playing needs no server.

/**
 * One head's map at one step.
 * @typedef {{codes: Uint16Array, rowMax: Float32Array, colMax: Float32Array}} MapFrame
 */

/**
 * What ../../film.py sends. Frames that the browser has are left out.
 * @typedef {object} FilmHeader
 * @property {"film"} mode
 * @property {string} id of the training
 * @property {number[]} steps of the frames
 * @property {number} last step of the training
 * @property {number | null} at the step to show first; null: the latest
 * @property {[number, number]} selected layer and head
 * @property {string} scoreTitle @property {string} scoreRule @property {string} unit of the scores; empty for shares, 0 to 1
 * @property {{layer: number, head: number, name: string, uniform: number}[]} heads that have a score
 * @property {[number, number][]} emerged indices of the heads that took up their role, and at which step
 * @property {string[]} accuracies names of the curves; none without held-out data
 * @property {number} firstThumbs index of the first frame with thumbnails in this message
 * @property {number} firstMap the same for the selected head's map
 * @property {string} mapId of the selected head
 * @property {import("../payload.js").LayerHeader[]} layers
 * @property {import("../payload.js").MapHeader & {top: number}} map
 * @property {number} height px @property {string} source
 * @property {Record<string, import("../payload.js").ArrayEntry>} arrays
 *
 * @typedef {object} FilmArrays
 * @property {Float32Array} lossSteps @property {Float32Array} losses training, then held-out
 * @property {Float32Array} accuracySteps @property {Float32Array} accuracies one series after the other
 * @property {Float32Array} scores frame after frame
 * @property {Uint8Array} cells thumbnails, frame after frame
 * @property {Uint16Array} codes @property {Float32Array} rowMax @property {Float32Array} colMax
 */

const TRAININGS_KEPT = 3;
const HEADS_KEPT = 12; // of one training

/** @typedef {{thumbs: Uint8Array[], maps: Map<string, MapFrame[]>}} Kept */

/** By training, for as long as the tab is open. @type {Map<string, Kept>} */
const trainings = new Map();

/**
 * Add a message's frames; null where it counts on frames that are no longer here.
 * @param {FilmHeader} header @param {FilmArrays} arrays
 * @returns {{thumbs: Uint8Array[], maps: MapFrame[]} | null}
 */
export function addFrames(header, arrays) {
  const kept = trainings.get(header.id) ?? { thumbs: [], maps: new Map() };
  const maps = kept.maps.get(header.mapId) ?? [];
  if (kept.thumbs.length < header.firstThumbs || maps.length < header.firstMap) return null;
  kept.thumbs.splice(header.firstThumbs, Infinity, ...parts(arrays.cells, header.arrays.cells.shape[0]));
  const [n] = header.arrays.codes.shape;
  const [codes, rowMax, colMax] = [parts(arrays.codes, n), parts(arrays.rowMax, n), parts(arrays.colMax, n)];
  maps.splice(header.firstMap, Infinity, ...codes.map((some, i) => ({ codes: some, rowMax: rowMax[i], colMax: colMax[i] })));
  keep(kept.maps, header.mapId, maps, HEADS_KEPT);
  keep(trainings, header.id, kept, TRAININGS_KEPT);
  return { thumbs: kept.thumbs, maps };
}

/** Forget all: for tests. */
export function forgetFrames() {
  trainings.clear();
}

/** @template T @param {Map<string, T>} map @param {string} key @param {T} value @param {number} most */
function keep(map, key, value, most) {
  map.delete(key);
  map.set(key, value);
  for (const old of [...map.keys()].slice(0, -most)) map.delete(old);
}

/** n parts of equal length. @template {Uint8Array | Uint16Array | Float32Array} A @param {A} array @param {number} n @returns {A[]} */
function parts(array, n) {
  const length = n ? array.length / n : 0;
  return Array.from({ length: n }, (_, i) => /** @type {A} */ (array.subarray(i * length, (i + 1) * length)));
}
