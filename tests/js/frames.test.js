// What the browser keeps of a training, and round numbers along an axis.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { addFrames, forgetFrames } from "../../attnviz/canvas/js/film/frames.js";
import { ticksOf } from "../../attnviz/canvas/js/ticks.js";

beforeEach(forgetFrames);

/** A message with frames [first, first + n) of thumbnails (3 cells) and of a map (2 cells). */
function message(first, n, { id = "run", mapId = "run/0.0", value = 0, firstMap = first } = {}) {
  const count = (each) => Array.from({ length: n * each }, (_, i) => value + first * each + i);
  const header = { id, mapId, firstThumbs: first, firstMap, arrays: { cells: { shape: [n, 3] }, codes: { shape: [n, 1, 2] } } };
  return [header, { cells: Uint8Array.from(count(3)), codes: Uint16Array.from(count(2)), rowMax: new Float32Array(n), colMax: new Float32Array(2 * n) }];
}

test("frames are added to those that are here", () => {
  addFrames(...message(0, 2));
  const { thumbs, maps } = addFrames(...message(2, 1));
  assert.deepEqual(thumbs.map((part) => [...part]), [[0, 1, 2], [3, 4, 5], [6, 7, 8]]);
  assert.deepEqual(maps.map(({ codes }) => [...codes]), [[0, 1], [2, 3], [4, 5]]);
  assert.equal(maps[2].colMax.length, 2);
});

test("a message without new frames gives those that are here", () => {
  addFrames(...message(0, 2));
  assert.equal(addFrames(...message(2, 0)).maps.length, 2);
});

test("what counts on frames that are not here is refused", () => {
  assert.equal(addFrames(...message(2, 1)), null);
  addFrames(...message(0, 1));
  assert.equal(addFrames(...message(2, 1)), null);
  assert.equal(addFrames(...message(1, 1, { id: "another" })), null);
});

test("frames that were recorded again take the place of the old ones", () => {
  addFrames(...message(0, 3));
  const { thumbs } = addFrames(...message(0, 2, { value: 100 }));
  assert.deepEqual(thumbs.map((part) => part[0]), [100, 103]);
});

test("each head has its own maps, and all share the thumbnails", () => {
  addFrames(...message(0, 2));
  const [header, arrays] = message(2, 0, { mapId: "run/1.3", firstMap: 0 });
  assert.equal(addFrames({ ...header, arrays: { ...header.arrays, codes: { shape: [0, 1, 2] } } }, arrays).thumbs.length, 2);
  assert.equal(addFrames(...message(2, 0)).maps.length, 2);
});

test("ticks are round and within the range", () => {
  assert.deepEqual(ticksOf([0, 800], 5), [0, 200, 400, 600, 800]);
  assert.deepEqual(ticksOf([0, 1], 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticksOf([0, 3.71], 3), [0, 2]);
  assert.deepEqual(ticksOf([0, 0.034], 4), [0, 0.01, 0.02, 0.03]);
  assert.deepEqual(ticksOf([2, 2], 4), [2]);
});
