// Positions of thumbnails and chips.

import assert from "node:assert/strict";
import { test } from "node:test";

import { layoutByLayer, layoutByMetric } from "../../attnviz/canvas/js/gridlayout.js";
import { chipBelow, layoutChips, lineAt, lineIndexOf } from "../../attnviz/canvas/js/striplayout.js";

function model(kinds, layers, heads, rows = 64, cols = 64) {
  const blocks = kinds.flatMap((kind) => Array.from({ length: layers }, (_, index) => ({
    kind, index, heads, rows, cols, title: `Layer ${index}`, source: "exact", reason: null, at: 0 })));
  const all = blocks.flatMap((block) => Array.from({ length: heads }, (_, head) => ({
    layer: block.index, head, block, short: `L${block.index}`, at: 0, numbers: new Float32Array([NaN]),
    x: 0, y: 0, w: 0, h: 0, faded: false, image: null })));
  return { blocks, all };
}

function assertApart(boxes) {
  for (const [i, a] of boxes.entries()) {
    for (const b of boxes.slice(0, i)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert.ok(apart, `${JSON.stringify([a.x, a.y, a.w, a.h])} meets ${JSON.stringify([b.x, b.y, b.w, b.h])}`);
    }
  }
}

for (const [kinds, layers, heads, width, rows, cols] of [
  [["decoder"], 12, 12, 1000, 64, 64], [["decoder"], 30, 9, 640, 64, 64], [["encoder", "decoder", "cross"], 6, 8, 1000, 64, 64],
  [["decoder"], 48, 4, 1000, 64, 64], [["encoder"], 1, 1, 400, 3, 64], [["cross"], 4, 16, 700, 64, 5],
]) {
  test(`${layers} x ${heads} heads of ${kinds.join(", ")} on ${width} px`, () => {
    const { blocks, all } = model(kinds, layers, heads, rows, cols);
    const { shown, content, marks } = layoutByLayer(all, blocks, width, 400);
    assert.equal(new Set(shown).size, kinds.length * layers * heads);
    assertApart(shown);
    for (const { x, y, w, h } of shown) assert.ok(x >= 0 && y >= 0 && x + w <= width && y + h <= content);
    for (const { x, y } of marks) assert.ok(x >= 0 && x <= width && y >= 0 && y <= content);
    for (const { w, h } of shown) assert.ok(rows >= cols ? h >= w : w >= h);
  });
}

test("a layer that can't be shown keeps a note with its reason", () => {
  const { blocks, all } = model(["decoder"], 3, 2);
  blocks[1] = { ...blocks[1], heads: undefined, source: "refused", reason: "sparse" };
  const { shown, marks } = layoutByLayer(all.filter((h) => h.layer !== 1), blocks, 800, 400);
  assert.equal(shown.length, 4);
  assert.ok(marks.some(({ text }) => text === "Not shown: 1. sparse"));
});

test("by metric: sorted both ways, without unknown and filtered heads", () => {
  const { all } = model(["decoder"], 3, 4);
  all.forEach((head, i) => { head.numbers = new Float32Array([(i * 7) % 12]); });
  all[3].numbers = new Float32Array([NaN]);
  all[5].faded = true;
  for (const down of [true, false]) {
    const { shown, content } = layoutByMetric(all, 0, down, 300, 200);
    assert.equal(shown.length, 10);
    const values = shown.map((head) => head.numbers[0]);
    assert.deepEqual(values, values.toSorted((a, b) => (down ? b - a : a - b)));
    assertApart(shown);
    assert.ok(Math.max(...shown.map(({ y, h }) => y + h)) <= content);
  }
});

const section = (start, stop, title = "Text") => ({
  title, start, stop, side: "row", names: Array.from({ length: stop - start }, () => "a"), written: null, queries: 0, keys: true });

test("chips wrap in reading order and none is wider than the canvas", () => {
  const widths = Float32Array.from({ length: 40 }, (_, i) => 20 + ((i * 37) % 90));
  widths[17] = 900;
  const layout = layoutChips([section(0, 40)], widths, 300);
  const boxes = Array.from(widths, (_, chip) => {
    const line = layout.lines[lineIndexOf(layout.lines, chip)];
    assert.ok(chip >= line.from && chip < line.to);
    return { x: layout.xs[chip], y: line.y, w: layout.shown[chip], h: line.h };
  });
  assertApart(boxes);
  for (const { x, w, y, h } of boxes) assert.ok(x >= 0 && x + w <= 300 && y + h <= layout.content);
  boxes.slice(1).forEach((box, i) => assert.ok(box.y > boxes[i].y || (box.y === boxes[i].y && box.x > boxes[i].x)));
});

test("two texts have headings and lines of their own", () => {
  const { lines, headings } = layoutChips([section(0, 3, "Source"), section(3, 8, "Target")], new Float32Array(8).fill(30), 500);
  assert.deepEqual(headings.map((heading) => heading.section.title), ["Source", "Target"]);
  assert.deepEqual(lines.map(({ from, to }) => [from, to]), [[0, 3], [3, 8]]);
  assert.ok(headings[1].y >= lines[0].y + lines[0].h && lines[1].y > headings[1].y);
});

test("a line is found by its height, and between lines there is none", () => {
  const { lines } = layoutChips([section(0, 30)], new Float32Array(30).fill(80), 300);
  for (const line of lines) {
    assert.equal(lineAt(lines, line.y), line);
    assert.equal(lineAt(lines, line.y + line.h - 0.1), line);
    assert.equal(lineAt(lines, line.y + line.h + 1), null);
  }
  assert.equal(lineAt(lines, 0), null);
  assert.equal(lineAt([], 10), null);
});

test("down and up go to the nearest chip, and stay at the edges", () => {
  const layout = layoutChips([section(0, 9)], Float32Array.of(90, 90, 90, 190, 80, 60, 60, 60, 60), 300);
  assert.deepEqual(layout.lines.map(({ from }) => from), [0, 3, 5]);
  assert.equal(chipBelow(layout, 0, 1), 3);
  assert.equal(chipBelow(layout, 2, 1), 4);
  assert.equal(chipBelow(layout, 4, -1), 2);
  assert.equal(chipBelow(layout, 1, -1), 1);
  assert.equal(chipBelow(layout, 8, 1), 8);
});
