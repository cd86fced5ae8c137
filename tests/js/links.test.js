// Lines by query and by key, against a search through all of them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { keepStrongest, Links, strongest } from "../../attnviz/canvas/js/links.js";

const [QUERIES, KEYS] = [40, 50];
const random = (() => { // the same numbers every time
  let state = 12345;
  return () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
})();

function example() {
  const keys = [];
  const codes = [];
  const heads = [3, 8].map((number, i) => {
    const starts = [keys.length];
    for (let q = 0; q < QUERIES; q++) {
      for (let k = 0; k < KEYS; k++) {
        if (random() < 0.3) {
          keys.push(k);
          codes.push(Math.floor(random() * 65000) + 1);
        }
      }
      starts.push(keys.length);
    }
    return { number, i, starts: Uint32Array.from(starts), byKey: null };
  });
  const links = new Links(heads, Uint32Array.from(keys), Uint16Array.from(codes), QUERIES, KEYS);
  return { heads, links };
}

const { heads, links } = example();
const ownLines = (head) => Array.from({ length: head.starts.at(-1) - head.starts[0] }, (_, i) => head.starts[0] + i);
const sorted = (lines) => [...lines].sort((a, b) => a - b);

test("each line knows its query", () => {
  for (const head of heads) {
    for (let q = 0; q < QUERIES; q++) {
      for (let line = head.starts[q]; line < head.starts[q + 1]; line++) assert.equal(links.queries[line], q);
    }
  }
});

test("a token's lines are all of its lines from a code up", () => {
  for (const head of heads) {
    for (const least of [1, 30_000]) {
      const strong = ownLines(head).filter((line) => links.codes[line] >= least);
      for (const index of [0, 7, QUERIES - 1]) {
        assert.deepEqual(sorted(links.of(head, { side: "row", index }, least)), strong.filter((l) => links.queries[l] === index));
        assert.deepEqual(sorted(links.of(head, { side: "col", index }, least)), strong.filter((l) => links.keys[l] === index));
      }
    }
  }
});

test("lines with an end on screen are found once", () => {
  const [rows, cols] = [[5, 12], [20, 31]];
  const inside = (at, [start, stop]) => at >= start && at < stop;
  for (const head of heads) {
    const expected = ownLines(head).filter((l) => links.codes[l] >= 10_000 &&
      (inside(links.queries[l], rows) || inside(links.keys[l], cols)));
    assert.deepEqual(sorted(links.within(head, rows, cols, 10_000)), expected);
  }
});

test("the strongest lines of several heads", () => {
  const found = heads.map((head) => ({ head, lines: ownLines(head) }));
  const top = strongest(found, links.codes, 20);
  const all = found.flatMap(({ lines }) => lines.map((line) => links.codes[line])).sort((a, b) => b - a);
  assert.deepEqual(top.map(([line]) => links.codes[line]), all.slice(0, 20));
  for (const [line, head] of top) assert.ok(line >= head.starts[0] && line < head.starts.at(-1));
});

test("weak lines are left out until few enough remain", () => {
  const found = () => heads.map((head) => ({ head, lines: ownLines(head) }));
  const all = found().flatMap(({ lines }) => lines);
  const untouched = found();
  assert.equal(keepStrongest(untouched, links.codes, all.length), 0);
  const cut = found();
  const most = 300;
  const left = keepStrongest(cut, links.codes, most);
  const kept = cut.flatMap(({ lines }) => lines);
  assert.equal(kept.length + left, all.length);
  assert.ok(kept.length <= most && kept.length > most / 2);
  const weakest = Math.min(...kept.map((line) => links.codes[line]));
  const keptLines = new Set(kept);
  assert.ok(all.filter((line) => !keptLines.has(line)).every((line) => links.codes[line] < weakest));
});
