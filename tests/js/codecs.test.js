// Codes against the numbers they stand for; tests/unit/canvas/test_codecs.py tests the encoders.

import assert from "node:assert/strict";
import { test } from "node:test";

import { codecOf, MASKED, shortNumber, significantCode } from "../../attnviz/canvas/js/codecs.js";

const significant = codecOf({ kind: "significant" });

test("a significant code prints four digits of its number", () => {
  const codeOf = (mantissa, exponent) => 2 + (exponent + 7) * 9000 + mantissa - 1000; // d.ddd · 10^e
  assert.equal(significant.text(codeOf(1234, -1)), "0.1234");
  assert.equal(significant.text(codeOf(7812, -3)), "0.007812");
  assert.equal(significant.text(codeOf(1234, -4)), "1.234e-4");
  assert.equal(significant.text(codeOf(1000, 0)), "1.000");
  assert.equal(significant.text(0), "0");
  assert.equal(significant.text(1), "< 1e-7");
  assert.equal(significant.text(MASKED), "masked");
});

test("every significant code's text is its value", () => {
  for (let code = 2; code < MASKED; code++) {
    assert.ok(Math.abs(Number(significant.text(code)) / significant.values[code] - 1) < 1e-12, String(code));
  }
});

test("significant codes increase with their numbers, and a number finds its code", () => {
  for (let code = 2; code < MASKED; code++) {
    assert.ok(significant.values[code] > significant.values[code - 1], String(code));
    assert.equal(significantCode(significant.values[code]), code);
  }
  assert.ok(Number.isNaN(significant.values[MASKED]));
});

test("a threshold between two codes takes the lower one", () => {
  const code = significantCode(0.12344);
  assert.equal(significant.text(code), "0.1234");
  assert.equal(significantCode(0), 0);
  assert.equal(significantCode(1e-9), 1);
});

test("a fixed-point code counts steps from the lowest", () => {
  const codec = codecOf({ kind: "fixed", decimals: 2, low: -150 });
  assert.deepEqual([0, 150, 275].map((code) => codec.text(code)), ["-1.50", "0.00", "1.25"]);
  assert.equal(codec.signed, true);
  const coarse = codecOf({ kind: "fixed", decimals: -2, low: -3 });
  assert.deepEqual([0, 10].map((code) => coarse.text(code)), ["-300", "700"]);
});

test("more fixed codecs than are cached still decode their own numbers", () => {
  for (let low = 0; low < 40; low++) assert.equal(codecOf({ kind: "fixed", decimals: 0, low }).text(1), String(low + 1));
});

test("short numbers", () => {
  assert.deepEqual([0, 0.12345, 12.345, 0.00012, 123456, -2500].map(shortNumber),
    ["0", "0.123", "12.3", "1.2e-4", "1.2e5", "-2.5e3"]);
});
