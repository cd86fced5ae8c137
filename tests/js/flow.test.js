// Where the matrices of a flow stand.

import assert from "node:assert/strict";
import { test } from "node:test";

import { boxAt, fittedFlow, flowLayout } from "../../attnviz/canvas/js/flowlayout.js";

const MEASURES = { names: 50, columns: 48, wrap: (/** @type {string} */ text) => (text ? [text] : []) };

function matrix(name, row, col, size, panels = []) {
  return { name, title: name, formula: "f", row, col, size, panels, rows: row === "key" ? "query" : row, cols: col };
}

function steps(n, panels = []) {
  const vectors = (name) => matrix(name, "query", "d_head", [n, 4], panels);
  const map = (name) => matrix(name, "query", "key", [n, n], panels);
  return [
    { title: "Input", line: "", matrices: [matrix("x", "query", "d_model", [n, 16])] },
    { title: "Q, K, V", line: "", matrices: [matrix("w_q", "d_model", "d_head", [16, 4]), matrix("b_q", "bias", "d_head", [1, 4]),
      vectors("q"), vectors("k"), vectors("v")] },
    { title: "Scores", line: "", matrices: [map("scores_scaled"), map("scores")] },
    { title: "Weights", line: "", matrices: [map("weights")] },
    { title: "Output", line: "", matrices: [vectors("heads"), matrix("concat", "query", "concat", [n, 16])] },
  ];
}

for (const [width, n, panels] of [[1100, 8, []], [570, 8, []], [370, 14, []], [1100, 30, []], [1100, 8, ["0", "1", "2", "3"]]]) {
  test(`a flow of ${n} tokens and ${panels.length} panels in ${width} px`, () => {
    const { chunks } = fittedFlow(steps(n, panels), width, 600, n, MEASURES);
    const boxes = chunks.flatMap((chunk) => chunk.boxes);
    const drawn = steps(n, panels).flatMap((step) => step.matrices.flatMap((m) => (m.panels.length ? m.panels : [""])));
    assert.equal(boxes.length, drawn.length); // nothing is left out
    for (const [i, chunk] of chunks.entries()) {
      if (panels.length === 0) assert.ok(chunk.x >= 0 && chunk.x + chunk.w <= width + 0.5, `${chunk.x + chunk.w}`);
      for (const other of chunks.slice(0, i)) { // steps are apart, and in reading order
        assert.ok(other.row < chunk.row ? other.y + other.h < chunk.y : other.x + other.w < chunk.x);
      }
      for (const box of chunk.boxes) {
        assert.ok(box.x - (box.named ? MEASURES.names : 0) >= chunk.x && box.x + box.w <= chunk.x + chunk.w);
        assert.ok(box.y >= chunk.y && box.y + box.h < chunk.y + chunk.h);
        assert.equal(boxAt(chunks, box.x + box.w / 2, box.y + box.h / 2), box);
      }
    }
    for (const [i, a] of boxes.entries()) {
      for (const b of boxes.slice(0, i)) {
        assert.ok(a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y);
      }
    }
  });
}

test("no slider moves the layout: what numbers change has the same place", () => {
  const wider = steps(8).map((step) => ({ ...step, matrices: step.matrices.map((m) => ({ ...m, size: [m.size[0], m.col === "key" ? m.size[1] : 2 * m.size[1]] })) }));
  const places = (some) => flowLayout(some, 1100, 14, MEASURES).chunks.flatMap((c) => c.boxes.map((b) => [b.x, b.y, b.w, b.h]));
  assert.deepEqual(places(wider), places(steps(8)));
});

test("cells are as large as the window allows", () => {
  const small = fittedFlow(steps(8), 1100, 420, 8, MEASURES);
  const large = fittedFlow(steps(8), 1100, 900, 8, MEASURES);
  assert.ok(large.height <= 900 && large.height > small.height);
});
