// What is hovered in one canvas lights up in every other on the page that shows the same tokens.
// All canvases of a page share this module, so nothing of it goes to the server.

/**
 * @typedef {import("./payload.js").AxisHeader} AxisHeader
 * @typedef {{axis: string, index: number}} AxisToken a token of a text
 * @typedef {{query: AxisToken | null, key: AxisToken | null}} LitTokens
 * @typedef {(lit: LitTokens | null, from: object) => void} HoverListener
 */

/** @type {Set<HoverListener>} */
const hoverListeners = new Set();

/** @param {HoverListener} listener @returns {() => void} stops listening */
export function listenToHover(listener) {
  hoverListeners.add(listener);
  return () => hoverListeners.delete(listener);
}

/** @param {object} from who tells it @param {LitTokens | null} lit */
export function tellHover(from, lit) {
  for (const listener of hoverListeners) listener(lit, from);
}

/** The token at a place of an axis. @param {AxisHeader | undefined} axis @param {number} at @returns {AxisToken | null} */
export function tokenOn(axis, at) {
  return axis ? { axis: axis[0], index: at + axis[1] } : null;
}

/** Where an axis of n tokens has a token, or null. @param {AxisHeader | undefined} axis @param {number} n @param {AxisToken | null} token */
export function placeOn(axis, n, token) {
  if (!axis || !token || token.axis !== axis[0]) return null;
  const at = token.index - axis[1];
  return at >= 0 && at < n ? at : null;
}

/**
 * The query and the key of a cell; a matrix of vectors has tokens along its rows alone.
 * @param {import("./payload.js").MapHeader} header @param {import("./payload.js").Cell} cell
 * @returns {LitTokens}
 */
export function tokensOfCell({ rowAxis, colAxis, rowTitle }, [row, col]) {
  const [token, key] = [tokenOn(rowAxis, row), tokenOn(colAxis, col)];
  if (colAxis) return { query: token, key };
  return { query: rowTitle === "key" ? null : token, key: rowTitle === "query" ? null : token };
}

/**
 * The rows and columns of a map that are lit.
 * @param {import("./payload.js").MapHeader} header @param {LitTokens} lit
 * @returns {[number | null, number | null][]} row and column
 */
export function litCells({ rowAxis, colAxis, shape: [n, m] }, { query, key }) {
  const row = placeOn(rowAxis, n, query);
  return colAxis ? [[row, placeOn(colAxis, m, key)]] : [[row, null], [placeOn(rowAxis, n, key), null]];
}
