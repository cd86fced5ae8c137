// Where an image's patches lie, and the colors of their weights.

import assert from "node:assert/strict";
import { test } from "node:test";

import { codecOf, significantCode } from "../../attnviz/canvas/js/codecs.js";
import { extentOf, layoutImages, patchAt, patchOnGiven, patchOnSeen } from "../../attnviz/canvas/js/imagelayout.js";
import { AVERAGE, PATCH_RAMP, patchPixels, PatchWeights } from "../../attnviz/canvas/js/imageweights.js";

const PLACES = {
  cropped: { size: [640, 427], box: [132, 26.5, 374, 374], input: [224, 224], grid: [16, 16], patch: [14, 14] },
  padded: { size: [100, 50], box: [-10, -20, 120, 90], input: [60, 45], grid: [3, 4], patch: [15, 15] },
  uneven: { size: [90, 60], box: [20, 4, 51, 51], input: [34, 34], grid: [4, 4], patch: [8, 8] },
  tensors: { size: null, box: null, input: [32, 32], grid: [4, 4], patch: [8, 8] },
};

for (const [name, place] of Object.entries(PLACES)) {
  for (const width of [1000, 620, 340]) {
    test(`patches of a ${name} image are found where they are drawn, ${width} px wide`, () => {
      const layout = layoutImages(place, width, 500, 32, 100);
      for (const rect of [layout.seen, layout.given, layout.chips, layout.words]) {
        if (rect) assert.ok(rect[0] >= 0 && rect[0] + rect[2] <= width + 1 && rect[1] + rect[3] <= layout.bottom + 1, `${rect}`);
      }
      for (let row = 0; row < place.grid[0]; row++) {
        for (let column = 0; column < place.grid[1]; column++) {
          for (const rect of [patchOnSeen(place, layout, row, column), patchOnGiven(place, layout, row, column)]) {
            if (!rect) continue;
            const [x, y, w, h] = rect;
            assert.deepEqual(patchAt(place, layout, x + w / 2, y + h / 2), [row, column]);
          }
        }
      }
      const [x, y, w, h] = layout.seen;
      assert.equal(patchAt(place, layout, x + w + 5, y + h + 5), null);
      assert.equal(patchAt(place, layout, x - 3, y - 3), null);
    });
  }
}

test("pixels that no patch covers are no patch", () => {
  const layout = layoutImages(PLACES.uneven, 1000, 500, 32, 100);
  const [x, y, w, h] = layout.seen;
  assert.equal(patchAt(PLACES.uneven, layout, x + w - 1, y + h / 2), null); // 2 of 34 at the right
  assert.deepEqual(patchAt(PLACES.uneven, layout, x + w * (31 / 34), y + h / 2), [2, 3]);
});

test("the picture as given has room for its padding, and both are to scale", () => {
  assert.deepEqual(extentOf(PLACES.padded), [-10, -20, 120, 90]);
  const layout = layoutImages(PLACES.padded, 1000, 500, 0, 0);
  assert.ok(Math.abs(layout.given[2] / layout.given[3] - 120 / 90) < 0.02);
  const [x, y] = patchOnGiven(PLACES.padded, layout, 0, 0);
  assert.deepEqual([x, y], layout.given.slice(0, 2));
});

const codes = Uint16Array.from([0.5, 0.1, 0.2, 0.2, 0.1, 0.4, 0.1, 0.4], significantCode);
const weights = new PatchWeights(codes, 4, 0, { first: 1, n: 3 }, codecOf({ kind: "significant" }));
const close = (found, wanted) => [...found].forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 1e-6, `${found}`));

test("a row, its sum over the patches, and the mean of all rows", () => {
  close(weights.row(0).weights, [0.5, 0.1, 0.2, 0.2]);
  close([weights.row(0).onPatches, weights.row(1).onPatches], [0.5, 0.9]);
  close(weights.row(AVERAGE).weights, [0.3, 0.25, 0.15, 0.3]);
  assert.ok(weights.has(1) && !weights.has(2) && weights.has(AVERAGE));
});

test("a scale spans all that it colors", () => {
  const spans = { row: [0, 0.2], contrast: [0.1, 0.2], head: [0, 0.4], share: [0, 0.4] };
  for (const [scale, wanted] of Object.entries(spans)) {
    const numbers = weights.onPatches(weights.row(0), scale);
    const [low, high] = weights.span(numbers, scale);
    close([low, high], wanted);
    assert.ok(numbers.every((value) => value >= low && value <= high));
  }
});

test("one color a patch; smoothing is the patch's own color at its middle, and goes no further than its neighbors", () => {
  const numbers = Float64Array.from([0, 1, 0.5, 0.25]);
  const sharp = patchPixels(numbers, [2, 2], [0, 1], false);
  assert.deepEqual([...sharp.pixels], [0, 255, 128, 64].map((i) => PATCH_RAMP[i]));
  const even = patchPixels(new Float64Array(6).fill(0.31), [2, 3], [0, 1], true);
  assert.ok(even.pixels.every((color) => color === PATCH_RAMP[Math.round(255 * 0.31)]));
  assert.deepEqual([even.width, even.height], [24, 16]);
  const masked = patchPixels(Float64Array.from([NaN, 1]), [1, 2], [0, 1], false);
  assert.deepEqual([...masked.pixels], [0, PATCH_RAMP[255]]);
});
