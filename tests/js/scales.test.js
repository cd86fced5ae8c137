// From numbers to ramp positions, and colors.

import assert from "node:assert/strict";
import { test } from "node:test";

import { codecOf, MASKED, significantCode } from "../../attnviz/canvas/js/codecs.js";
import { PALETTES } from "../../attnviz/canvas/js/palettes.js";
import { colorTable, magnitudeRanksOf, rampPosition, ranksOf } from "../../attnviz/canvas/js/scales.js";
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

test("heads have colors of their own, from the palette while it suffices", () => {
  const theme = /** @type {any} */ ({ categorical: PALETTES.light.categorical, dark: false });
  assert.equal(headColor(theme, 1, 7), PALETTES.light.categorical[1]);
  assert.equal(new Set(Array.from({ length: 32 }, (_, i) => headColor(theme, i, 32))).size, 32);
});

test("the strip's scale tells the rest apart when one token gets nearly everything", () => {
  const codes = Uint16Array.from([0.9, 0.05, 0.02, 0.01].map(significantCode));
  const linear = stripScale(codes, significant, "linear");
  close(linear.high, 0.05);
  assert.equal(linear.open, true);
  const log = stripScale(codes, significant, "log");
  assert.ok(log.low >= 0.009 && log.low <= 0.02 && log.high === significant.values[codes[0]]);
  const range = stripScale(codes, significant, "range");
  close(range.low, 0.01);
  assert.equal(stripScale(Uint16Array.of(MASKED, MASKED), significant, "log"), null);
});
