// Codes of numbers: what is decoded is what was encoded, rounded once.

import assert from "node:assert/strict";
import { test } from "node:test";

import { codecOf, MASKED } from "../../attnviz/canvas/js/codecs.js";
import { fixedCodeOf, fixedHeaderOf, significantCodeOf } from "../../attnviz/canvas/js/encode.js";

const WEIGHTS = codecOf({ kind: "significant" });

test("a weight's code reads as its four significant digits", () => {
  const numbers = [1, 0.9999, 0.99995, 0.999949, 0.1, 0.09999501, 0.5981, 0.012345, 1 / 3, 1e-3, 1.0005e-4, 9.99951e-5, 1e-7];
  for (let i = 0; i < 2000; i++) numbers.push(10 ** (-7 * Math.random()));
  for (const number of numbers) {
    assert.equal(WEIGHTS.values[significantCodeOf(number)], Number(number.toPrecision(4)), String(number));
  }
});

test("codes rise with the numbers, and the ends have codes of their own", () => {
  assert.equal(significantCodeOf(0), 0);
  assert.equal(significantCodeOf(NaN), 0);
  assert.equal(WEIGHTS.text(significantCodeOf(3e-9)), "< 1e-7");
  assert.equal(WEIGHTS.text(significantCodeOf(0.99996e-7)), "1.000e-7");
  let before = 0;
  for (let number = 1e-8; number < 1.5; number *= 1.0003) {
    const code = significantCodeOf(number);
    assert.ok(code >= before && code < MASKED);
    before = code;
  }
});

test("scores have the finest steps that reach from the smallest to the largest", () => {
  for (const size of [1e-3, 1, 40, 3000, 1e9]) {
    const numbers = Array.from({ length: 300 }, () => (2 * Math.random() - 1) * size);
    const header = fixedHeaderOf([...numbers, -Infinity]);
    const codec = codecOf(header);
    for (const number of numbers) {
      assert.ok(Math.abs(codec.values[fixedCodeOf(number, header)] - number) <= 0.500001 * 10 ** -header.decimals);
    }
    assert.equal(fixedCodeOf(-Infinity, header), MASKED);
    const width = Math.max(...numbers) - Math.min(...numbers);
    assert.ok(header.decimals === 6 || width * 10 ** (header.decimals + 1) > 65_000);
  }
});
