// A map's cells in words, from the finest tile that has them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { around, describeCell, readCell, textOf } from "../../attnviz/canvas/js/cells.js";
import { codecOf, MASKED, significantCode } from "../../attnviz/canvas/js/codecs.js";
import { MapBases } from "../../attnviz/canvas/js/mapbases.js";
import { Pyramid } from "../../attnviz/canvas/js/pyramid.js";

const codec = codecOf({ kind: "significant" });

function pyramid(rows, cols, side, fill, exact = null) {
  const [height, width] = [rows, cols].map(([start, stop]) => Math.ceil((stop - start) / side));
  const codes = Uint16Array.from({ length: height * width }, (_, i) => fill(Math.floor(i / width), i % width));
  return new Pyramid({ codes, exact, rows, cols, side, height, width, codec });
}

test("the first tile that covers a cell is read", () => {
  const coarse = pyramid([0, 100], [0, 100], 4, (i, j) => 1000 + i * 25 + j);
  const fine = pyramid([40, 60], [20, 30], 1, (i, j) => 5000 + i * 10 + j);
  const inside = readCell([fine, coarse], [41, 23]);
  assert.equal(inside.tile, fine.tile);
  assert.equal(inside.tile.codes[inside.i], 5000 + 1 * 10 + 3);
  for (const at of [[39, 23], [60, 23], [41, 19], [41, 30]]) {
    const outside = readCell([fine, coarse], at);
    assert.equal(outside.tile, coarse.tile);
    assert.equal(outside.tile.codes[outside.i], 1000 + Math.floor(at[0] / 4) * 25 + Math.floor(at[1] / 4));
  }
  assert.throws(() => readCell([fine], [0, 0]));
});

test("a cell's words: rows, columns, and how much a square stands for", () => {
  const header = { quantity: "weights" };
  const names = { rowNames: ["the", "cat"], colNames: ["0", "1"] };
  const one = pyramid([0, 2], [0, 2], 1, () => significantCode(0.25));
  assert.deepEqual(describeCell(header, names, [1, 0], readCell([one], [1, 0])),
    [["query", "1 · ", "cat"], ["key", "0"], ["weight", "0.2500"]]);
  const pooled = pyramid([0, 2], [0, 2], 2, () => MASKED);
  assert.deepEqual(describeCell({ ...header, rowTitle: "token", colTitle: "layer" }, names, [0, 1], readCell([pooled], [0, 1])),
    [["token", "0 · ", "the"], ["layer", "1"], ["largest weight of 2 × 2", "masked"]]);
});

test("numbers that were sent exactly have six digits", () => {
  const exact = Float32Array.of(1234.5678);
  assert.equal(textOf({ tile: pyramid([0, 1], [0, 1], 1, () => 5, exact).tile, i: 0 }), "1234.57");
  assert.equal(textOf({ tile: pyramid([0, 1], [0, 1], 1, () => MASKED, exact).tile, i: 0 }), "masked");
});

test("a table takes 24 cells around the middle, inside the span", () => {
  assert.deepEqual(around([0, 10]), [0, 10]);
  assert.deepEqual(around([5, 100]), [5, 29]);
  assert.deepEqual(around([0, 100], 50), [38, 62]);
  assert.deepEqual(around([0, 100], 99), [76, 100]);
});

test("each level of a pyramid has the largest codes of the one before, without masked ones", () => {
  const values = [[1, 9, MASKED], [4, 2, 7], [MASKED, MASKED, MASKED]];
  const { codes, height, width, factor } = pyramid([0, 3], [0, 3], 1, (i, j) => values[i][j])._level(1);
  assert.deepEqual([height, width, factor], [2, 2, 2]);
  assert.deepEqual([...codes], [9, 7, MASKED, MASKED]);
});

test("the last four maps are kept", () => {
  const bases = new MapBases();
  const header = (id) => ({
    id, base: { rows: [0, 2], cols: [0, 2], side: 1, codec: { kind: "significant" } }, rowNames: ["a", "b"],
    colNames: ["c", "d"], arrays: { base: { type: "u2", shape: [2, 2], at: 0 } } });
  const arrays = { base: Uint16Array.of(2, 3, 4, 5), rowMax: Float32Array.of(0.2, 0.4), colMax: Float32Array.of(0.3, 0.4) };
  for (const id of ["a", "b", "c", "d", "e"]) assert.ok(Math.abs(bases.receive(header(id), arrays).largest - 0.4) < 1e-6);
  assert.equal(bases.receive(header("a"), {}), null);
  assert.deepEqual(bases.receive(header("b"), {}).rowNames, ["a", "b"]);
});
