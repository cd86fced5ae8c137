import assert from "node:assert/strict";
import test from "node:test";

import { GRAY, HeadPlaces, HUES } from "../../attnviz/canvas/js/headplaces.js";
import { fanShift, lineWidth } from "../../attnviz/canvas/js/linesdraw.js";
import { roomForNames } from "../../attnviz/canvas/js/text.js";

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

const numbers = (/** @type {number} */ n) => Array.from({ length: n }, (_, i) => i);

test("up to seven heads have fixed colors", () => {
  const places = new HeadPlaces();
  places.assign(numbers(7), [1, 4], 4);
  assert.deepEqual(numbers(7).map((head) => places.of(head)), numbers(7));
});

test("of more heads, the one in front and the first ones have hues, each of its own; the others are gray", () => {
  const places = new HeadPlaces();
  places.assign(numbers(12), numbers(12), 9);
  const colored = numbers(12).filter((head) => places.of(head) !== GRAY);
  assert.deepEqual(colored, [0, 1, 2, 3, 4, 9]);
  assert.equal(new Set(colored.map((head) => places.of(head))).size, HUES);
});

test("a head keeps its hue while it is shown; a hidden head's hue goes to the next gray one", () => {
  const places = new HeadPlaces();
  places.assign(numbers(12), numbers(12), 0);
  const before = numbers(6).map((head) => places.of(head));
  const without = numbers(12).filter((head) => head !== 2);
  places.assign(numbers(12), without, 0);
  assert.equal(places.of(6), before[2]);
  for (const head of [0, 1, 3, 4, 5]) assert.equal(places.of(head), before[head]);
  places.assign(numbers(12), without, 11); // another head is chosen: it takes a hue
  assert.notEqual(places.of(11), GRAY);
  assert.equal(numbers(12).filter((head) => places.of(head) !== GRAY).length, HUES);
  places.assign(numbers(12), [7, 8, 10], null); // a few that were gray
  assert.ok([7, 8, 10].every((head) => places.of(head) !== GRAY));
});

test("names are whole where lines still have room, and share what there is where they have not", () => {
  assert.deepEqual(roomForNames(900, [100, 230]).map((room) => room - 52), [100, 230]);
  const [left, right] = roomForNames(400, [300, 60]);
  assert.ok(right - 52 === 60 && left > right && 400 - left - right >= 150);
  const both = roomForNames(900, [600, 600]);
  assert.equal(both[0], both[1]);
  assert.ok(900 - both[0] - both[1] >= 900 * 0.36 - 1);
});
