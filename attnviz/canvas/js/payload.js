// Reading a message: the form is told in ../wire.py.

/** @typedef {any} Cells a Uint8Array, Uint16Array, Uint32Array or Float32Array */
/** @typedef {{header: any, arrays: Record<string, Cells>}} Payload */

const CELL_TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

/**
 * @param {Uint8Array} bytes
 * @returns {Payload}
 */
export function readPayload(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "AVC1") {
    throw new Error("This is no canvas message.");
  }
  const length = view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  /** @type {Record<string, Cells>} */
  const arrays = {};
  for (const [name, entry] of Object.entries(header.arrays)) {
    const type = CELL_TYPES[entry.type];
    const count = entry.shape.reduce((a, b) => a * b, 1);
    // What Streamlit hands over begins anywhere in a larger buffer; numbers need an even place.
    const start = bytes.byteOffset + 8 + length + entry.at;
    arrays[name] = new type(bytes.buffer.slice(start, start + count * type.BYTES_PER_ELEMENT));
  }
  return { header, arrays };
}
