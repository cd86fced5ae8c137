// A page's arithmetic against the backend's numbers, which `python -m tests.unit.canvas.page_heads` wrote.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { cellSteps } from "../../attnviz/canvas/js/cellsteps.js";
import { HeadReading } from "../../attnviz/canvas/js/headreading.js";
import { PageTrace } from "../../attnviz/canvas/js/pagetrace.js";
import { Tensors } from "../../attnviz/canvas/js/tensors.js";

const { layers, blobs, expected } = JSON.parse(readFileSync(new URL("heads.json", import.meta.url), "utf8"));
const trace = new PageTrace(layers, [], new Tensors((blob) => blobs[blob]));
const CLOSE = 1e-6; // the backend adds in single precision
const number = (value) => (value === null ? -Infinity : value);

/** The largest difference; infinities have to be the same. */
function apart(found, wanted) {
  let most = 0;
  wanted.forEach((row, i) => row.forEach((value, j) => {
    const [a, b] = [found[i][j], number(value)];
    if (a !== b) most = Math.max(most, Math.abs(a - b));
  }));
  return most;
}

for (const layer of layers) {
  for (let h = 0; h < layer.heads; h++) {
    test(`${layer.title}, head ${h}`, async () => {
      const head = await trace.head(layer.index, h);
      const wanted = expected[layer.index][h];
      const rows = Array.from({ length: layer.nQ }, (_, i) => head.row(i));
      assert.ok(apart(rows.map((row) => row.weights), wanted.weights) < CLOSE);
      if (wanted.scores) {
        const shown = rows.map(({ scores, masked }) => scores.map((s, j) => (masked?.[j] ? -Infinity : s)));
        const size = Math.max(1, ...wanted.scores.flat().map((s) => Math.abs(s ?? 0)));
        assert.ok(apart(shown, wanted.scores) < CLOSE * size);
      }
      if (wanted.masked) assert.deepEqual(rows.map((row) => [...row.masked]), wanted.masked);
      if (wanted.output) {
        assert.ok(apart(rows.map((row, i) => head.output(i, row)), wanted.output) < CLOSE);
      } else assert.equal(head.hasOutput, false);
    });
  }
}

test("a cell's arithmetic ends at its weight", async () => {
  for (const layer of layers) {
    const reading = new HeadReading(await trace.head(layer.index, 1));
    for (let i = 0; i < layer.nQ; i++) {
      let shares = 0;
      for (let j = 0; j < layer.nK; j++) {
        const steps = cellSteps(reading, layer.scaling, i, j);
        if (!steps) continue;
        assert.ok(Math.abs(steps.dot * steps.scaling - steps.scaled) < 1e-12);
        if (steps.weight > 0 && Number.isFinite(steps.score)) {
          assert.ok(Math.abs(Math.exp(steps.score - steps.highest) / steps.total - steps.weight) < CLOSE, layer.title);
        }
        shares += steps.share ?? 0;
      }
      if (shares) assert.ok(Math.abs(shares - 1) < 1e-9, layer.title);
    }
  }
});
