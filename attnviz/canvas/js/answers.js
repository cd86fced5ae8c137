// What a page's canvases are shown: the payloads that ../map.py, ../lines.py, ../neuron.py, ../strip.py
// and ../matrix.py make on a server, made here from the trace that the page holds.

import { MASKED } from "./codecs.js";
import { fixedCodeOf, fixedHeaderOf, significantCodeOf } from "./encode.js";
import { MOST_SQUARES } from "./headreading.js";

/** @typedef {import("./headreading.js").HeadReading} HeadReading */
/** @typedef {import("./headreading.js").CodedTile} CodedTile */
/** @typedef {import("./pagetrace.js").LayerEntry} LayerEntry */
/** @typedef {import("./payload.js").Extent} Extent */
/** @typedef {import("./payload.js").MapPayload} MapPayload */
/** @typedef {import("./payload.js").NeuronPayload} NeuronPayload */
/** @typedef {import("./payload.js").LinesPayload} LinesPayload */
/** @typedef {import("./payload.js").StripPayload} StripPayload */
/** @typedef {[import("./payload.js").Side, number] | null} Place a query or a key */

/**
 * The head that is shown.
 * @typedef {object} ShownHead
 * @property {LayerEntry} layer @property {number} head
 * @property {HeadReading} reading
 * @property {string[]} rowNames @property {string[]} colNames
 */

const LINE_FLOOR = 0.01; // a line of less weight is invisible
const MOST_LINES = 1_500_000;
const TILE_MARGIN = 0.25; // of what is on screen, computed around it

/** @param {ShownHead} shown */
function titleOf({ layer, head }) {
  return `${layer.title}, head ${head}`;
}

/** A text's id, by its place among the page's lists. @param {number} names */
function textAxis(names) {
  return `names/${names}`;
}

/** The texts of a layer's queries and keys. @param {LayerEntry} layer */
function axesOf({ rows, cols }) {
  /** @type {(names: number) => import("./payload.js").AxisHeader} */
  const axis = (names) => [textAxis(names), 0];
  return { rowAxis: axis(rows), colAxis: axis(cols) };
}

/** How an array lies. @param {import("./payload.js").ArrayEntry["type"]} type @param {number[]} shape */
function arrayEntry(type, ...shape) {
  return { type, shape, at: 0 };
}

/** @param {CodedTile} tile */
function tileHeader({ rows, cols, side, codec }) {
  return { rows, cols, side, codec };
}

/**
 * A head's map, of weights or scores.
 * @param {ShownHead} shown @param {"weights" | "scores"} quantity
 * @param {{view: Extent | null, cell: [number, number] | null, focus: Place}} state
 * @returns {MapPayload}
 */
export function answerMap(shown, quantity, { view, cell, focus }) {
  const { layer, head, reading, rowNames, colNames } = shown;
  const base = reading.picture(quantity);
  const id = `${layer.index}/${head}/${quantity}`;
  /** @type {MapPayload} */
  const answer = {
    header: {
      mode: "map", id, space: `${layer.kind}/${layer.nQ}x${layer.nK}`, title: `${titleOf(shown)}: ${quantity}`,
      quantity, shape: [layer.nQ, layer.nK], view, cell, focus, report: true,
      base: tileHeader(base), rowNames, colNames, ...axesOf(layer), arrays: { base: arrayEntry("u2", base.height, base.width) },
    },
    arrays: { base: base.codes, rowMax: base.rowMax, colMax: base.colMax },
  };
  if (view && base.side > 1) {
    const [rows, cols, side] = tileAround(view, [layer.nQ, layer.nK]);
    if (side < base.side) {
      const tile = reading.tile(quantity, rows, cols, side);
      answer.header.tile = tileHeader(tile);
      answer.header.arrays.tile = arrayEntry("u2", tile.height, tile.width);
      answer.arrays.tile = tile.codes;
    }
  }
  return answer;
}

/**
 * Rows, columns and square side of the tile for what is on screen, as in ../tiles.py.
 * @param {{rows: [number, number], cols: [number, number]}} view @param {[number, number]} shape
 * @returns {[[number, number], [number, number], number]}
 */
export function tileAround(view, shape) {
  const spans = [view.rows, view.cols].map(([start, stop], axis) => {
    const from = Math.min(start, shape[axis] - 1);
    return [from, Math.max(Math.min(stop, shape[axis]), from + 1)];
  });
  const squares = (/** @type {number[]} */ [start, stop], /** @type {number} */ side) =>
    Math.ceil(stop / side) - Math.floor(start / side);
  let side = 1;
  while (Math.max(...spans.map((span) => squares(span, side))) > MOST_SQUARES) side *= 2;
  const [rows, cols] = spans.map((span, axis) => {
    const spare = Math.floor((MOST_SQUARES - squares(span, side)) / 2) * side;
    const margin = Math.floor(Math.min(Math.round((span[1] - span[0]) * TILE_MARGIN), spare) / side) * side;
    const start = Math.max(0, Math.floor(span[0] / side) * side - margin);
    return /** @type {[number, number]} */ ([start, Math.min(shape[axis], span[1] + margin)]);
  });
  return [rows, cols, side];
}

/**
 * Q, K, V or the output of a head.
 * @param {ShownHead} shown @param {"Q" | "K" | "V" | "Output"} which
 * @param {{query: number | null, key: number | null} | null} at the token in focus
 * @returns {MapPayload}
 */
export function answerVectors(shown, which, at) {
  const { layer, head, reading, rowNames, colNames } = shown;
  const ofKeys = which === "K" || which === "V";
  const names = ofKeys ? colNames : rowNames;
  const marked = (ofKeys ? at?.key : at?.query) ?? null;
  const values = vectorsOf(reading, which);
  if (!values) throw new Error(`This layer's ${which} is computed inside its module and is not available. Use the Map view.`);
  const [R, C] = [names.length, values.length / names.length];
  const codec = fixedHeaderOf(values);
  const codes = Uint16Array.from(values, (value) => fixedCodeOf(value, codec));
  const [rowMax, colMax] = [new Float32Array(R), new Float32Array(C)];
  values.forEach((value, at) => {
    const [i, j] = [Math.floor(at / C), at % C];
    rowMax[i] = Math.max(rowMax[i], Math.abs(value));
    colMax[j] = Math.max(colMax[j], Math.abs(value));
  });
  return {
    header: {
      mode: "map", id: `${layer.index}/${head}/${which}`, space: `${layer.kind}/${R}x${C}`,
      title: `${titleOf(shown)}: ${which}`, quantity: which, shape: [R, C], view: null, cell: null,
      focus: marked === null ? null : ["row", marked], report: true, twoSided: true, scale: "linear",
      rowTitle: ofKeys ? "key" : "query", colTitle: "dimension", rowNames: names,
      rowAxis: ofKeys ? axesOf(layer).colAxis : axesOf(layer).rowAxis,
      colNames: Array.from({ length: C }, (_, j) => String(j)),
      base: { rows: [0, R], cols: [0, C], side: 1, codec }, arrays: { base: arrayEntry("u2", R, C) },
    },
    arrays: { base: codes, exact: values, rowMax, colMax },
  };
}

/** @param {HeadReading} reading @param {"Q" | "K" | "V" | "Output"} which @returns {Float32Array | null} */
function vectorsOf(reading, which) {
  const { q, k, v, nQ, dV } = reading.head.parts;
  if (which !== "Output") return { Q: q, K: k, V: v }[which];
  if (!reading.head.hasOutput) return null;
  const out = new Float32Array(nQ * dV);
  for (let i = 0; i < nQ; i++) out.set(reading.head.output(i, reading.row(i)), i * dV);
  return out;
}

/**
 * One query against each key.
 * @param {ShownHead} shown @param {number} query
 * @returns {NeuronPayload}
 */
export function answerNeuron(shown, query) {
  const { layer, head, reading, rowNames, colNames } = shown;
  const { q, k, d, nK } = reading.head.parts;
  const { scores, weights, masked } = reading.row(query);
  if (!q || !k || !scores || layer.scaling === null) throw new Error("This layer's Q and K are not available. Use the Map view.");
  const at = (/** @type {number} */ j) => masked?.[j] === 1;
  return {
    header: {
      mode: "neuron", id: `${layer.index}/${head}/neuron`, title: titleOf(shown), query,
      queries: [query, query + 1], keys: [0, nK], scaling: layer.scaling, weights: { kind: "significant" },
      rowNames, colNames, ...axesOf(layer), arrays: { k: arrayEntry("f4", nK, d) },
    },
    arrays: {
      q: q.subarray(query * d, (query + 1) * d), k,
      dots: Float32Array.from({ length: nK }, (_, j) => reading.head.dot(query, j)),
      scores: Float32Array.from(scores, (score, j) => (at(j) ? -Infinity : score)),
      weightCodes: Uint16Array.from(weights, (w, j) => (at(j) ? MASKED : significantCodeOf(w))),
    },
  };
}

/**
 * All heads of a layer as lines, from a floor up.
 * @param {ShownHead[]} heads of one layer @param {Place} token whose lines are shown alone
 * @returns {LinesPayload}
 */
export function answerLines(heads, token) {
  const { layer, rowNames, colNames } = heads[0];
  const starts = new Uint32Array(heads.length * (layer.nQ + 1));
  const [keys, weights] = [/** @type {number[]} */ ([]), /** @type {number[]} */ ([])];
  const floor = floorOf(heads);
  heads.forEach(({ reading }, h) => {
    for (let i = 0; i < layer.nQ; i++) {
      starts[h * (layer.nQ + 1) + i] = keys.length;
      const row = reading.row(i).weights;
      for (let j = 0; j < layer.nK; j++) if (row[j] >= floor) { keys.push(j); weights.push(row[j]); }
    }
    starts[h * (layer.nQ + 1) + layer.nQ] = keys.length;
  });
  return {
    header: {
      mode: "lines", id: `${layer.index}/lines`, title: layer.title, heads: heads.map(({ head }) => head), floor,
      codec: { kind: "significant" }, rowNames, colNames, ...axesOf(layer), token,
      arrays: { starts: arrayEntry("u4", heads.length, layer.nQ + 1) },
    },
    arrays: { starts, keys: Uint32Array.from(keys), codes: Uint16Array.from(weights, significantCodeOf) },
  };
}

/** The least weight that is a line: it rises until there are no more than can be held. @param {ShownHead[]} heads */
function floorOf(heads) {
  const { nQ, nK } = heads[0].layer;
  for (let floor = LINE_FLOOR; ; floor *= 2) {
    if (heads.length * nQ * Math.min(nK, 1 / floor) <= MOST_LINES) return floor;
  }
}

/**
 * The texts, each token with what the head does with it.
 * @param {ShownHead} shown @param {string[][]} names @param {{text: number, index: number} | null} focused
 * @param {Record<string, string>} helps
 * @returns {StripPayload}
 */
export function answerStrip(shown, names, focused, helps) {
  const { layer, head, reading } = shown;
  const { received, visible, sent, entropy } = reading.sums;
  const sections = layer.texts.map((text) => ({ ...text, axis: textAxis(text.names), names: names[text.names] }));
  const over = (/** @type {(j: number) => number} */ keys, /** @type {(i: number) => number} */ queries) =>
    Uint16Array.from(sections.flatMap((section) => section.names.map((_, at) => {
      if (section.keys) {
        const code = keys(at);
        if (code !== MASKED) return code;
      }
      return section.queries !== null && at >= section.queries ? queries(at - section.queries) : MASKED;
    })));
  const none = () => MASKED;
  const known = (/** @type {number} */ count) => count > 0;
  /** @type {import("./payload.js").StripArrays} */
  const arrays = {
    received: over((j) => (known(visible[j]) ? significantCodeOf(received[j] / visible[j]) : MASKED), none),
    sent: layer.kind === "cross" ? over(none, none) : over(none, (i) => significantCodeOf(sent[i])),
    entropy: over(none, (i) => Math.min(MASKED - 1, Math.round(entropy[i] * 1000))),
  };
  const at = placeOf(layer, focused);
  if (at) {
    const code = (/** @type {number} */ i, /** @type {number} */ j) => {
      const { weights, masked } = reading.row(i);
      return masked?.[j] && weights[j] === 0 ? MASKED : significantCodeOf(weights[j]);
    };
    const { query, key } = at;
    arrays.from = over(query === null ? none : (j) => code(query, j), none);
    arrays.to = over(none, key === null ? none : (i) => code(i, key));
  }
  return {
    header: {
      mode: "strip", id: `${layer.index}/${head}`, title: `${titleOf(shown)}: tokens`, kind: layer.kind, sections,
      measure: "received", focus: at && [at.side, at.index], helps, weights: { kind: "significant" },
      bits: { kind: "fixed", decimals: 3, low: 0 }, arrays: {},
    },
    arrays,
  };
}

/**
 * Where a layer has a token: as a query, as a key, or not at all.
 * @param {LayerEntry} layer @param {{text: number, index: number} | null} token
 */
export function placeOf(layer, token) {
  const section = token && layer.texts.find((text) => text.names === token.text && text.side);
  if (!section?.side || !token) return null;
  const query = section.queries !== null && token.index >= section.queries ? token.index - section.queries : null;
  return { side: section.side, index: token.index, query, key: section.keys ? token.index : null };
}
