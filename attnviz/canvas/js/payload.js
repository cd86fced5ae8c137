// Decoding a message, whose layout is in ../wire.py, and the types of what each mode is sent.

/**
 * @typedef {[number, number]} Span from a first index to one past the last
 * @typedef {[number, number]} Cell row and column
 * @typedef {"row" | "col"} Side
 * @typedef {{side: Side, index: number}} Token
 * @typedef {[string, number]} AxisHeader the text (or image) along an axis, and its token at index 0
 * @typedef {{kind: "significant"} | {kind: "fixed", decimals: number, low: number}} CodecHeader
 * @typedef {Uint8Array | Uint16Array | Uint32Array | Float32Array} TypedArray
 * @typedef {{type: "u1" | "u2" | "u4" | "f4", shape: number[], at: number}} ArrayEntry
 */

/**
 * Every header has these.
 * @typedef {object} CommonHeader
 * @property {string} id changes with the content
 * @property {string} [title]
 * @property {string} [source] the model and the start of the text, for saved pictures
 * @property {Record<string, ArrayEntry>} arrays
 * @property {number} [height] px, toolbar included
 * @property {boolean} [fills] taller if the window has room below the canvas
 * @property {boolean} [compact] with a minimal toolbar
 * @property {boolean} [offline] there is no server to answer
 */

/**
 * ../grid.py
 * @typedef {{index: number, kind: AttentionKind, title: string, source: string, reason: string | null,
 *   heads?: number, rows?: number, cols?: number, at?: number, keys?: number, pending?: boolean}} LayerHeader
 * @typedef {"encoder" | "decoder" | "cross"} AttentionKind
 * @typedef {{key: string, title: string, help: string}} MetricHeader
 * @typedef {CommonHeader & {mode: "grid", layers?: LayerHeader[], metrics?: MetricHeader[],
 *   selected: [number, number] | null}} GridHeader without layers if the browser has the grid
 * @typedef {{header: GridHeader, arrays: {cells?: Uint8Array, values?: Float32Array}}} GridPayload
 */

/**
 * ../map.py
 * @typedef {{rows: Span, cols: Span, side: number, codec: CodecHeader}} TileHeader
 * @typedef {{rows: Span, cols: Span}} Extent
 * @typedef {CommonHeader & {mode: "map", space: string, title: string, quantity: string, shape: Cell,
 *   base?: TileHeader, tile?: TileHeader, rowNames?: string[], colNames?: string[],
 *   rowTitle?: string, colTitle?: string, rowAxis?: AxisHeader, colAxis?: AxisHeader, view: Extent | null, cell?: Cell | null,
 *   focus: [Side, number] | null, report: boolean, twoSided?: boolean,
 *   scale?: import("./scales.js").ScaleKind, top?: number}} MapHeader
 * @typedef {{header: MapHeader, arrays: {base?: Uint16Array, tile?: Uint16Array, exact?: Float32Array,
 *   rowMax?: Float32Array, colMax?: Float32Array}}} MapPayload
 */

/**
 * ../lines.py
 * @typedef {CommonHeader & {mode: "lines", title: string, heads: number[], floor: number, codec: CodecHeader,
 *   rowNames: string[], colNames: string[], rowAxis: AxisHeader, colAxis: AxisHeader,
 *   token: [Side, number] | null, front?: number | null}} LinesHeader
 * @typedef {{header: LinesHeader, arrays: {starts: Uint32Array, keys: Uint32Array, codes: Uint16Array}}} LinesPayload
 */

/**
 * ../neuron.py
 * @typedef {CommonHeader & {mode: "neuron", title: string, query: number, queries: Span, keys: Span,
 *   scaling: number, weights: CodecHeader, rowNames: string[], colNames: string[],
 *   rowAxis: AxisHeader, colAxis: AxisHeader}} NeuronHeader
 * @typedef {{q: Float32Array, k: Float32Array, dots: Float32Array, scores: Float32Array,
 *   weightCodes: Uint16Array}} NeuronArrays
 * @typedef {{header: NeuronHeader, arrays: NeuronArrays}} NeuronPayload
 */

/**
 * ../strip.py
 * @typedef {"received" | "sent" | "entropy"} Measure
 * @typedef {Measure | "from" | "to"} TokenNumber
 * @typedef {{title: string, axis: string, side: Side | null, names: string[], written: number | null,
 *   queries: number | null, keys: boolean, ids: number[], odd: OddToken[]}} TextSection
 * @typedef {{at: number, text: string, bytes: string, unknown: boolean}} OddToken whose name is not simply its text
 * @typedef {CommonHeader & {mode: "strip", title: string, kind: AttentionKind, sections: TextSection[],
 *   measure: Measure, focus: [Side, number] | null, helps: Record<TokenNumber, string>,
 *   weights: CodecHeader, bits: CodecHeader}} StripHeader
 * @typedef {Record<Measure, Uint16Array> & {from?: Uint16Array, to?: Uint16Array}} StripArrays
 * @typedef {{header: StripHeader, arrays: StripArrays}} StripPayload
 */

/**
 * ./film/filmcurves.js
 * @typedef {{name: string, named: boolean, color: number | "selected" | null, at?: number}} Series color: of the palette; null is faint. at: a step to mark on it
 * @typedef {CommonHeader & {mode: "curves", title: string, series: Series[], last: number, at: number | null,
 *   domain?: [number, number], base?: {value: number, name: string}, note?: string}} CurvesHeader
 * @typedef {{header: CurvesHeader, arrays: {x: Float32Array, y: Float32Array}}} CurvesPayload
 */

/**
 * ../flow.py
 * @typedef {{name: string, title: string, formula: string, array: string, size: Cell, panels: string[],
 *   rows: string, cols: string, row: string, col: string, rowTitle: string, colTitle: string,
 *   twoSided: boolean, range: Span, beyond: boolean, holes: boolean}} FlowMatrixHeader rows, cols: names of
 *   what they are; row, col: what sets their size
 * @typedef {{title: string, line: string, help: string, matrices: FlowMatrixHeader[]}} FlowStepHeader
 * @typedef {CommonHeader & {mode: "flow", title: string, steps: FlowStepHeader[], names: Record<string, string[]>,
 *   texts: Record<string, AxisHeader>, picked: [number, number, number] | null, stale: string}} FlowHeader
 * @typedef {{header: FlowHeader, arrays: Record<string, Float32Array>}} FlowPayload
 */

/**
 * ../image.py
 * @typedef {CommonHeader & {mode: "image", title: string, picture: string, size: [number, number],
 *   input: [number, number], box: [number, number, number, number] | null, grid: [number, number],
 *   patch: [number, number], first: number, selfAttention: boolean, codec: CodecHeader, firstRow: number,
 *   query: number | null, rowNames: string[], colNames: string[], rowAxis: AxisHeader, colAxis: AxisHeader,
 *   words: string[]}} ImageHeader
 * @typedef {{header: ImageHeader, arrays: {codes: Uint16Array, given?: Uint8Array, seen?: Uint8Array}}} ImagePayload
 */

/**
 * @typedef {CurvesPayload | FlowPayload | GridPayload | ImagePayload | MapPayload | LinesPayload | NeuronPayload | StripPayload} Payload
 */

const ARRAY_TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

/**
 * @param {Uint8Array} bytes
 * @returns {Payload}
 */
export function readPayload(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "AVC1") {
    throw new Error("This is not a canvas message.");
  }
  const length = view.getUint32(4, true);
  /** @type {Payload["header"]} */
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  /** @type {Record<string, TypedArray>} */
  const arrays = {};
  for (const [name, entry] of Object.entries(header.arrays)) {
    const type = ARRAY_TYPES[entry.type];
    const count = entry.shape.reduce((a, b) => a * b, 1);
    // Streamlit's bytes start anywhere in a larger buffer; typed arrays need an aligned one.
    const start = bytes.byteOffset + 8 + length + entry.at;
    arrays[name] = new type(/** @type {ArrayBuffer} */ (bytes.buffer).slice(start, start + count * type.BYTES_PER_ELEMENT));
  }
  return /** @type {Payload} */ (/** @type {unknown} */ ({ header, arrays }));
}
