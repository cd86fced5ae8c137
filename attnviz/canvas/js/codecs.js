// Decoding 16-bit codes; the two codecs are described in ../codecs.py.

export const MASKED = 65535;
export const TINY = 1;
export const FIRST = 2;
export const DECADES = 7;
export const PER_DECADE = 9000;

/**
 * @typedef {object} Codec
 * @property {boolean} signed
 * @property {Float64Array} values number of each code; NaN where masked
 * @property {(code: number) => string} text as shown
 */

/** Four significant digits, from 1e-7 up: weights. @type {Codec} */
const SIGNIFICANT = {
  signed: false,
  values: significantValues(),
  text(code) {
    if (code === MASKED) return "masked";
    if (code === 0) return "0";
    if (code === TINY) return "< 1e-7";
    const at = code - FIRST;
    const digits = 1000 + (at % PER_DECADE);
    const exponent = Math.floor(at / PER_DECADE) - DECADES;
    if (exponent >= -3) return this.values[code].toFixed(3 - exponent);
    return `${(digits / 1000).toFixed(3)}e${exponent}`;
  },
};

function significantValues() {
  const values = new Float64Array(65536);
  for (let code = FIRST; code < MASKED; code++) {
    const at = code - FIRST;
    const exponent = Math.floor(at / PER_DECADE) - DECADES;
    values[code] = (1000 + (at % PER_DECADE)) / 10 ** (3 - exponent);
  }
  values[TINY] = 0.5e-7;
  values[MASKED] = NaN;
  return values;
}

/** Steps of 10^-decimals: scores and vectors. @param {{decimals: number, low: number}} header @returns {Codec} */
function fixedCodec({ decimals, low }) {
  const values = new Float64Array(65536);
  for (let code = 0; code < MASKED; code++) values[code] = (code + low) / 10 ** decimals;
  values[MASKED] = NaN;
  const shown = Math.max(0, decimals);
  return {
    signed: true,
    values,
    text: (code) => (code === MASKED ? "masked" : values[code].toFixed(shown)),
  };
}

/** @type {Map<string, Codec>} */
const fixedCodecs = new Map();

/** @param {import("./payload.js").CodecHeader} header @returns {Codec} */
export function codecOf(header) {
  if (header.kind === "significant") return SIGNIFICANT;
  const name = `${header.decimals}/${header.low}`;
  const codec = fixedCodecs.get(name) ?? fixedCodec(header);
  if (fixedCodecs.size > 16) fixedCodecs.clear();
  fixedCodecs.set(name, codec);
  return codec;
}

/** The code of a weight, rounded down: for thresholds. @param {number} weight */
export function significantCode(weight) {
  if (weight <= 0) return 0;
  if (weight < 1e-7) return TINY;
  let low = FIRST;
  let high = MASKED - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (SIGNIFICANT.values[middle] <= weight) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** A number for a scale or a control, short. @param {number} value */
export function shortNumber(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000 || size < 0.001) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}
