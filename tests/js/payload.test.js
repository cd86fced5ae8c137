// A message as attnviz/canvas/wire.py lays it out.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readPayload } from "../../attnviz/canvas/js/payload.js";

function message(header, arrays, before = 0) {
  const table = {};
  const parts = [];
  let at = 0;
  for (const [name, [type, shape, data]] of Object.entries(arrays)) {
    table[name] = { type, shape, at };
    const bytes = new Uint8Array(Math.ceil(data.byteLength / 8) * 8);
    bytes.set(new Uint8Array(data.buffer));
    parts.push(bytes);
    at += bytes.length;
  }
  let text = new TextEncoder().encode(JSON.stringify({ ...header, arrays: table }));
  text = Buffer.concat([text, Buffer.alloc((8 - ((text.length + 8) % 8)) % 8, " ")]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const whole = Buffer.concat([Buffer.alloc(before), Buffer.from("AVC1"), length, text, ...parts]);
  const copy = new Uint8Array(new ArrayBuffer(whole.length));
  copy.set(whole);
  return copy.subarray(before);
}

const ARRAYS = {
  codes: ["u2", [2, 3], new Uint16Array([1, 2, 3, 500, 60000, 65535])],
  cells: ["u1", [3], new Uint8Array([7, 8, 255])],
  starts: ["u4", [2], new Uint32Array([0, 4_000_000_000])],
  exact: ["f4", [2], new Float32Array([-0.5, Infinity])],
  none: ["f4", [0, 4], new Float32Array(0)],
};

test("header and arrays come back, from any offset of a larger buffer", () => {
  for (const before of [0, 1, 3, 8]) {
    const { header, arrays } = readPayload(message({ mode: "map", title: "头 🙂" }, ARRAYS, before));
    assert.equal(header.mode, "map");
    assert.equal(header.title, "头 🙂");
    assert.deepEqual(header.arrays.codes.shape, [2, 3]);
    for (const [name, [, , data]] of Object.entries(ARRAYS)) assert.deepEqual(arrays[name], data);
  }
});

test("arrays are copies: the message may be reused", () => {
  const bytes = message({}, ARRAYS);
  const { arrays } = readPayload(bytes);
  bytes.fill(0);
  assert.deepEqual([...arrays.cells], [7, 8, 255]);
});

test("other bytes are refused", () => {
  const bytes = message({}, {});
  bytes[3] = "2".charCodeAt(0);
  assert.throws(() => readPayload(bytes), /not a canvas message/);
});
