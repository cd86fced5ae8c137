// A map under the keyboard: every key does what a hand could.

import { spoken } from "./stage.js";

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
  PageUp: [-10, 0], PageDown: [10, 0] };
const ZOOM = 1.5; // a key press

/** @param {import("./map.js").MapMode} map @param {KeyboardEvent} event @returns {boolean} whether it was for the map */
export function moveInMap(map, event) {
  const step = STEPS[event.key];
  const row = map.cursor?.[0] ?? 0;
  if (step) {
    const wide = event.shiftKey ? 10 : 1;
    const { rows, cols } = map.view.visible();
    const [i, j] = map.cursor ?? map.picked ?? [rows[0], cols[0]];
    goTo(map, [i + step[0] * wide, j + step[1] * wide]);
  } else if (event.key === "Home") goTo(map, [row, 0]);
  else if (event.key === "End") goTo(map, [row, map.shape[1] - 1]);
  else if (event.key === "+" || event.key === "=") zoomOnCursor(map, ZOOM);
  else if (event.key === "-") zoomOnCursor(map, 1 / ZOOM);
  else if (event.key === "0" || event.key === "Escape") map.reset();
  else if (event.key === "Enter" && map.cursor) map.pick(map.cursor);
  else return false;
  return true;
}

function goTo(map, [row, col]) {
  map.cursor = [
    Math.max(0, Math.min(map.shape[0] - 1, row)), Math.max(0, Math.min(map.shape[1] - 1, col))];
  map.view.reveal(map.cursor);
  map.moved();
  const rows = map.describe(map.cursor);
  map.stage.tip(...map.middleOf(map.cursor), rows);
  map.stage.say(spoken(rows));
}

function zoomOnCursor(map, factor) {
  if (map.cursor) map.zoom(factor, ...map.middleOf(map.cursor));
  else map.zoomAtMiddle(factor);
}
