import assert from "node:assert/strict";
import test from "node:test";

import { fanShift, lineWidth } from "../../attnviz/canvas/js/linesdraw.js";

test("a line's width is its weight, from 0.5 to 6 px", () => {
  assert.deepEqual([0, 0.5, 1].map(lineWidth), [0.5, 3.25, 6]);
});

test("heads fan out around a token and stay within its height", () => {
  const shifts = [0, 1, 2, 3].map((i) => fanShift(i, 4, 20));
  assert.equal(new Set(shifts).size, 4);
  assert.ok(Math.abs(shifts.reduce((a, b) => a + b)) < 1e-9);
  assert.ok(Math.max(...shifts.map(Math.abs)) <= 10);
  assert.equal(fanShift(0, 1, 20), 0);
});
