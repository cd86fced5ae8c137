// What a page shows, in its address: #layer=8&head=3&view=map&token=0.13&cell=3.5

/** @typedef {"Map" | "Scores" | "Lines" | "Neuron" | "Q" | "K" | "V" | "Output"} ViewName */

/**
 * @typedef {object} PageState
 * @property {number} layer @property {number} head @property {ViewName} view
 * @property {{text: number, index: number} | null} token in focus
 * @property {[number, number] | null} cell that was picked
 */

/** @type {ViewName[]} */
export const VIEW_NAMES = ["Map", "Scores", "Lines", "Neuron", "Q", "K", "V", "Output"];

/** @param {PageState} state */
export function hashOf({ layer, head, view, token, cell }) {
  const parts = [`layer=${layer}`, `head=${head}`, `view=${view.toLowerCase()}`];
  if (token) parts.push(`token=${token.text}.${token.index}`);
  if (cell) parts.push(`cell=${cell[0]}.${cell[1]}`);
  return `#${parts.join("&")}`;
}

/**
 * What an address says, where the page has it; else what was there.
 * @param {string} hash @param {PageState} otherwise
 * @param {import("./pagetrace.js").PageTrace} trace
 * @returns {PageState}
 */
export function readHash(hash, otherwise, trace) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (/** @type {string} */ name) => (/^\d{1,9}$/.test(said.get(name) ?? "") ? Number(said.get(name)) : -1);
  const pair = (/** @type {string} */ name) => {
    const found = /^(\d{1,9})\.(\d{1,9})$/.exec(said.get(name) ?? "");
    return found && /** @type {[number, number]} */ ([Number(found[1]), Number(found[2])]);
  };
  const layer = trace.layers.find((one) => one.index === number("layer") && one.source !== "refused");
  const head = number("head");
  if (!layer || head < layer.firstHead || head >= layer.firstHead + layer.heads) return otherwise;
  const view = VIEW_NAMES.find((name) => name.toLowerCase() === said.get("view")) ?? "Map";
  const [token, cell] = [pair("token"), pair("cell")];
  return {
    layer: layer.index, head, view,
    token: token && token[1] < (trace.names[token[0]]?.length ?? 0) ? { text: token[0], index: token[1] } : null,
    cell: cell && cell[0] < layer.nQ && cell[1] < layer.nK ? cell : null,
  };
}
