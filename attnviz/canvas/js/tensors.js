// The arrays of a page, unpacked on demand: ../tensor_store.py describes the format.

/**
 * @typedef {object} TensorEntry
 * @property {number} blob which text holds its bytes
 * @property {"f4" | "i4" | "u2"} type u2: number = low + step · code, per head and channel
 * @property {number[]} shape
 * @property {number} [low] blob of (heads, channels) float32 @property {number} [step]
 */

/** The bytes of a base64 text that was deflated. @param {string} text @returns {Promise<ArrayBuffer>} */
export async function inflated(text) {
  const letters = atob(text.trim());
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

export class Tensors {
  /** @param {(blob: number) => string} read the text of a blob */
  constructor(read) {
    this.read = read;
    /** @type {Map<number, Promise<ArrayBuffer>>} */
    this.blobs = new Map();
    /** @type {Map<string, Promise<Float32Array | Int32Array>>} */
    this.known = new Map();
  }

  /** @param {number} blob */
  bytes(blob) {
    let found = this.blobs.get(blob);
    if (!found) this.blobs.set(blob, (found = inflated(this.read(blob))));
    return found;
  }

  /** @param {TensorEntry} entry @returns {Promise<Float32Array | Int32Array>} */
  get(entry) {
    const name = `${entry.blob}/${entry.low}/${entry.step}`; // codes may be alike where scales are not
    let found = this.known.get(name);
    if (!found) this.known.set(name, (found = this._unpacked(entry)));
    return found;
  }

  /** @param {TensorEntry} entry */
  async _unpacked({ blob, type, shape, low, step }) {
    const raw = await this.bytes(blob);
    this.blobs.delete(blob);
    if (type === "f4") return new Float32Array(raw);
    if (type === "i4") return new Int32Array(raw);
    const lows = new Float32Array(await this.bytes(/** @type {number} */ (low)));
    const steps = new Float32Array(await this.bytes(/** @type {number} */ (step)));
    return dequantized(new Uint16Array(raw), lows, steps, shape);
  }
}

/**
 * Numbers from 16-bit codes with a scale for each channel of each head.
 * @param {Uint16Array} codes (H, n, d) @param {Float32Array} lows (H, d) @param {Float32Array} steps (H, d)
 * @param {number[]} shape
 */
export function dequantized(codes, lows, steps, [H, n, d]) {
  const out = new Float32Array(codes.length);
  for (let h = 0, at = 0; h < H; h++) {
    for (let i = 0; i < n; i++) {
      for (let c = h * d, end = c + d; c < end; c++, at++) out[at] = lows[c] + steps[c] * codes[at];
    }
  }
  return out;
}
