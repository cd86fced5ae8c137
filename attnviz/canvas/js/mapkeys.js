// The keys of a map: everything that the pointer can do.

import { arrowKeys } from "./mode.js";

const PAGE = 10; // cells
const ZOOM = 1.5; // of a key press

/** @param {import("./map.js").MapMode} map @returns {import("./mode.js").KeyActions} */
export function mapKeys(map) {
  const row = () => map.hovered?.[0] ?? 0;
  const zoom = (/** @type {number} */ factor) => {
    if (map.hovered) map.zoom(factor, ...map.middleOf(map.hovered));
    else map.zoomAtMiddle(factor);
  };
  return {
    ...arrowKeys((dx, dy, { shiftKey }) => step(map, dx * (shiftKey ? PAGE : 1), dy * (shiftKey ? PAGE : 1))),
    PageUp: ({ shiftKey }) => step(map, 0, -PAGE * (shiftKey ? PAGE : 1)),
    PageDown: ({ shiftKey }) => step(map, 0, PAGE * (shiftKey ? PAGE : 1)),
    Home: () => goTo(map, row(), 0),
    End: () => goTo(map, row(), map.shape[1] - 1),
    "+": () => zoom(ZOOM),
    "=": () => zoom(ZOOM),
    "-": () => zoom(1 / ZOOM),
    0: () => map.reset(),
    Escape: () => map.reset(),
    Enter: () => map.hovered && map.pick(map.hovered),
  };
}

/** @param {import("./map.js").MapMode} map @param {number} dx @param {number} dy cells */
function step(map, dx, dy) {
  const { rows, cols } = map.view.visible();
  const [row, col] = map.hovered ?? map.picked ?? [rows[0], cols[0]];
  goTo(map, row + dy, col + dx);
}

/** Hover a cell, or the nearest there is. @param {import("./map.js").MapMode} map @param {number} row @param {number} col */
function goTo(map, row, col) {
  const [rows, cols] = map.shape;
  /** @type {import("./payload.js").Cell} */
  const at = [Math.max(0, Math.min(rows - 1, row)), Math.max(0, Math.min(cols - 1, col))];
  map.setHovered(at);
  map.view.reveal(at);
  map.moved();
  map.readOut(at, ...map.middleOf(at));
}
