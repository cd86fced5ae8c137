// From numbers to ramp positions, and colors.

import assert from "node:assert/strict";
import { test } from "node:test";

import { codecOf, MASKED, significantCode } from "../../attnviz/canvas/js/codecs.js";
import { PALETTES } from "../../attnviz/canvas/js/palettes.js";
import { gridLowEnd } from "../../attnviz/canvas/js/gridcolors.js";
import { hatchPath } from "../../attnviz/canvas/js/hatch.js";
import {
  beyond, clippedBy, clippedRows, colorTable, countsOf, endsOf, magnitudeRanksOf, rampPosition, ranksOf, shareText,
} from "../../attnviz/canvas/js/scales.js";
import { stripScale } from "../../attnviz/canvas/js/stripcolors.js";
import { cssColor, headColor, letterColor, mix, parseColor, ramp } from "../../attnviz/canvas/js/theme.js";

const significant = codecOf({ kind: "significant" });
const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-6, `${a} is not ${b}`);

test("linear and logarithmic positions, cut off at both ends", () => {
  const linear = { kind: "linear", low: 1, high: 5, ranks: null };
  assert.deepEqual([0, 1, 2, 5, 9].map((v) => rampPosition(linear, v, 0)), [0, 0, 0.25, 1, 1]);
  const log = { kind: "log", low: 1e-3, high: 1, ranks: null };
  [[0, 0], [1e-4, 0], [1e-2, 1 / 3], [1e-1, 2 / 3], [1, 1], [3, 1]].forEach(([v, at]) => close(rampPosition(log, v, 0), at));
});

test("a two-sided scale starts in the middle, negative below and positive above", () => {
  const scale = { kind: "linear", low: 0, high: 2, ranks: null, twoSided: true };
  assert.deepEqual([-2, -1, 0, 1, 2].map((v) => rampPosition(scale, v, 0)), [0, 0.25, 0.5, 0.75, 1]);
});

test("ranks are the share of cells below, without zeros and masked cells", () => {
  const codes = Uint16Array.from([0, 0, 0, MASKED, MASKED, 100, 200, 200, 300]);
  const ranks = ranksOf(codes);
  assert.equal(ranks[0], 0);
  [[100, 0.125], [200, 0.5], [300, 0.875]].forEach(([code, rank]) => close(ranks[code], rank));
  close(ranks[299], 0.75);
  assert.equal(ranksOf(new Uint16Array(0))[5], 0);
});

test("ranks of absolute values treat both signs alike", () => {
  const codec = codecOf({ kind: "fixed", decimals: 0, low: -10 });
  const code = (value) => value + 10;
  const ranks = magnitudeRanksOf(Uint16Array.from([-4, 4, 1, -9, MASKED - 10].map(code)), codec);
  assert.ok(ranks[code(1)] < ranks[code(4)] && ranks[code(4)] < ranks[code(-9)]);
  assert.ok(ranks[code(-4)] < ranks[code(-9)]);
  close(ranks[code(-9)], 0.875); // the last of four: masked cells don't count
});

test("a color table has the ramp's ends at the scale's ends and nothing where masked", () => {
  const colors = ramp(PALETTES.light.sequential);
  const table = colorTable(significant, { kind: "linear", low: 0, high: 0.5, ranks: null }, colors);
  assert.equal(table[0], colors[0]);
  assert.equal(table[significantCode(0.5)], colors[255]);
  assert.equal(table[significantCode(0.9)], colors[255]);
  assert.equal(table[significantCode(0.25)], colors[Math.round(255 / 2)]);
  assert.equal(table[MASKED], 0);
});

test("colors are read, mixed and packed", () => {
  assert.deepEqual(parseColor("#0f4"), [0, 255, 68, 1]);
  assert.deepEqual(parseColor("#10203080"), [16, 32, 48, 128 / 255]);
  assert.deepEqual(parseColor("rgb(1, 2, 3)"), [1, 2, 3, 1]);
  assert.deepEqual(parseColor("rgba(1, 2, 3, 0.5)"), [1, 2, 3, 0.5]);
  assert.equal(mix("#000000", "#ffffff", 0.2), "rgb(51, 51, 51)");
  const three = ramp(["#ff0000", "#00ff00", "#0000ff"]);
  assert.equal(cssColor(three[0]), "rgb(255, 0, 0)");
  assert.equal(cssColor(three[255]), "rgb(0, 0, 255)");
  assert.equal(cssColor(three[51]), "rgb(153, 102, 0)");
});

test("letters contrast with what they stand on", () => {
  for (const theme of [PALETTES.light, PALETTES.dark]) {
    const colors = ramp(theme.sequential);
    const brightness = (color) => parseColor(color).slice(0, 3).reduce((a, b) => a + b) / 3;
    for (const packed of colors) {
      assert.ok(Math.abs(brightness(cssColor(packed)) - brightness(letterColor(packed))) > 85, cssColor(packed));
    }
  }
});

test("heads have the palette's hues while they suffice; all others are gray", () => {
  const theme = /** @type {any} */ ({ categorical: PALETTES.light.categorical, dark: false });
  assert.deepEqual([0, 1, 6].map((i) => headColor(theme, i)), [0, 1, 6].map((i) => theme.categorical[i]));
  assert.equal(headColor(theme, 31), theme.categorical.at(-1));
});

const countsFor = (...weights) => countsOf(Uint16Array.from(weights.map((w) => (w === null ? MASKED : significantCode(w)))));

test("a number lies beyond a scale exactly if another color would be needed", () => {
  const log = { kind: "log", low: 1e-3, high: 0.5, ranks: null };
  assert.deepEqual([0, 9e-4, 1e-3, 0.2, 0.5, 0.6].map((w) => beyond(log, w)), [-1, -1, 0, 0, 0, 1]);
  assert.equal(beyond({ ...log, kind: "linear", low: 0 }, 0), 0); // zero is a color
  assert.equal(beyond({ ...log, kind: "percentile" }, 0.6), 0);
  assert.equal(beyond(log, 0.5001), 0); // a code's rounding is not clipped
  const twoSided = { kind: "log", low: 0.1, high: 2, ranks: null, twoSided: true };
  assert.deepEqual([-3, -2, -0.05, 0.05, 1, 3].map((w) => beyond(twoSided, w)), [1, 0, -1, -1, 0, 1]);
});

test("clipped cells are counted, masked ones are none", () => {
  const scale = { kind: "log", low: 1e-2, high: 0.5, ranks: null };
  const counts = countsFor(null, null, 0, 1e-3, 0.2, 0.9);
  assert.deepEqual(clippedBy(scale, counts, significant.values), { below: 2, above: 1, total: 4 });
  assert.deepEqual([shareText(1, 14), shareText(3, 1000), shareText(250, 1000)], ["1 of 14", "under 1%", "25%"]);
});

test("a legend's end that clips has an arrow and says how much it clips; another end has neither", () => {
  const scale = { kind: "linear", low: 0, high: 0.2, ranks: null };
  const open = endsOf(scale, clippedBy(scale, countsFor(0.1, 0.2, 0.7), significant.values));
  assert.deepEqual(open, { low: "0", high: "> 0.2 (1 of 3)", lowCap: false, highCap: true, middle: "" });
  const closed = endsOf(scale, clippedBy(scale, countsFor(0.1, 0.2), significant.values), " bits");
  assert.deepEqual(closed, { low: "0", high: "0.2 bits", lowCap: false, highCap: false, middle: "" });
  const log = { ...scale, kind: "log", low: 0.01 };
  assert.equal(endsOf(log, { below: 30, above: 0, total: 200 }).low, "< 0.01 (15%)");
});

test("a two-sided legend tells what is drawn as zero, and clips both ends", () => {
  const scale = { kind: "log", low: 0.01, high: 2, ranks: null, twoSided: true };
  const ends = endsOf(scale, { below: 1, above: 2, total: 10 });
  assert.deepEqual(ends, {
    low: "< -2", high: "> 2 (2 of 10)", lowCap: true, highCap: true, middle: "within ±0.01 (1 of 10)",
  });
});

test("a clipped cell's tooltip says so", () => {
  const scale = { kind: "log", low: 0.01, high: 0.2, ranks: null };
  assert.deepEqual(clippedRows(scale, 0.1), []);
  assert.deepEqual(clippedRows(scale, 0.3), [["color", "above the scale, which ends at 0.2"]]);
  assert.deepEqual(clippedRows(scale, 0), [["color", "below the scale, which begins at 0.01"]]);
});

test("the grid's scale reaches below what even attention gives each key, in powers of ten", () => {
  for (const keys of [2, 14, 128, 1000, 4096, 40_000]) {
    const low = gridLowEnd(keys);
    assert.ok(low <= 1e-3 && low <= 0.1 / keys * 1.0001, `${keys}: ${low}`);
    close(Math.log10(low), Math.round(Math.log10(low)));
  }
  assert.equal(gridLowEnd(14), 1e-3);
});

test("hatching fills its box, stays in it, and joins the next box", () => {
  const lines = [];
  const ctx = { moveTo: (x, y) => lines.push([x, y]), lineTo: (x, y) => lines.at(-1).push(x, y) };
  hatchPath(/** @type {any} */ (ctx), 10, 20, 30, 16);
  assert.ok(lines.length >= 7);
  for (const [x1, y1, x2, y2] of lines) {
    for (const [x, y] of [[x1, y1], [x2, y2]]) assert.ok(x >= 10 && x <= 40 && y >= 20 && y <= 36);
    assert.equal(x1 + y1, x2 + y2); // slanted by 45 degrees
    assert.equal((x1 + y1) % 6, 0); // the same lines wherever a box begins
  }
});

test("the strip's scale tells the rest apart when one token gets nearly everything", () => {
  const codes = Uint16Array.from([0.9, 0.05, 0.02, 0.01].map(significantCode));
  const linear = stripScale(codes, significant, "linear");
  close(linear.high, 0.05);
  assert.equal(beyond(linear, 0.9), 1);
  const log = stripScale(codes, significant, "log");
  assert.ok(log.low >= 0.009 && log.low <= 0.02 && log.high === significant.values[codes[0]]);
  const range = stripScale(codes, significant, "range");
  close(range.low, 0.01);
  assert.equal(stripScale(Uint16Array.of(MASKED, MASKED), significant, "log"), null);
});
