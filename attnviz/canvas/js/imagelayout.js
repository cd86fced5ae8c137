// Where the two pictures of an image lie on the canvas, and where a patch is in each of them.

/**
 * @typedef {[number, number, number, number]} Rect x, y, width, height
 * @typedef {object} ImagePlace what a layout needs to know
 * @property {[number, number] | null} size width and height of the image as given; null if there is none
 * @property {Rect | null} box the part of it that fills the input, its pixels; null if unknown
 * @property {[number, number]} input width and height of the input
 * @property {[number, number]} grid rows and columns @property {[number, number]} patch height and width, input pixels
 *
 * @typedef {object} ImageLayout
 * @property {Rect | null} given where the image as given is drawn @property {Rect} seen where the input is drawn
 * @property {number} unit px on the canvas of a pixel of the image as given
 * @property {Rect} words room for the words @property {Rect} chips room for the tokens that are no patch
 * @property {number} bottom px of all
 */

export const IMAGE_HEAD = 42; // px of two lines above a picture
export const BESIDE_WIDE = 138; // px of the tokens beside the patches
const PICTURES_APART = 24; // px
const SIDE_BY_SIDE = 520; // px from which there is room for two
const LEAST_PICTURE = 150; // px of height
const MOST_PICTURE = 640;
const OUTLINE = 4; // px around the chosen token
const UNDER = 12; // px between a picture and what is below it

/** What the picture as given covers: the image, and the padding around it. @param {ImagePlace} place @returns {Rect} in its pixels */
export function extentOf({ size, box }) {
  const [w, h] = size ?? [1, 1];
  if (!box) return [0, 0, w, h];
  const [left, top] = [Math.min(0, box[0]), Math.min(0, box[1])];
  return [left, top, Math.max(w, box[0] + box[2]) - left, Math.max(h, box[1] + box[3]) - top];
}

/** Whether both pictures stand side by side. @param {ImagePlace} place @param {number} width of the canvas */
export function isWide({ size }, width) {
  return width >= SIDE_BY_SIDE || !size;
}

/**
 * Side by side, as high as each other, with the tokens at the right and the words below; or, where it
 * is narrow, one below the other.
 * @param {ImagePlace} place @param {number} width of the canvas @param {number} height that there is
 * @param {number} wordsHigh @param {number} chipsHigh px; no tokens need 0 @returns {ImageLayout}
 */
export function layoutImages(place, width, height, wordsHigh, chipsHigh) {
  const extent = extentOf(place);
  const [input, aspect] = [place.input[0] / place.input[1], place.size ? extent[2] / extent[3] : 0];
  if (isWide(place, width)) {
    const beside = chipsHigh ? BESIDE_WIDE + PICTURES_APART : 0;
    const across = (width - beside - (place.size ? PICTURES_APART : 0)) / (input + aspect);
    const high = Math.round(Math.min(across, MOST_PICTURE, Math.max(LEAST_PICTURE, height - IMAGE_HEAD - UNDER - wordsHigh - 4)));
    const wide = Math.round(high * aspect);
    const x = place.size ? wide + PICTURES_APART : 0;
    const seen = /** @type {Rect} */ ([x, IMAGE_HEAD, Math.round(high * input), high]);
    const below = IMAGE_HEAD + Math.max(high, chipsHigh) + UNDER;
    return {
      given: place.size && [0, IMAGE_HEAD, wide, high], unit: high / extent[3], seen,
      chips: [seen[0] + seen[2] + PICTURES_APART, IMAGE_HEAD, BESIDE_WIDE - OUTLINE, chipsHigh],
      words: [0, below, width, wordsHigh], bottom: below + wordsHigh + 4,
    };
  }
  const wide = Math.min(width, MOST_PICTURE * input); // what the model gets comes first
  const seen = /** @type {Rect} */ ([0, IMAGE_HEAD, Math.round(wide), Math.round(wide / input)]);
  const top = IMAGE_HEAD + seen[3] + UNDER;
  const next = top + chipsHigh + (chipsHigh ? UNDER : 0) + IMAGE_HEAD;
  const high = Math.round(Math.min(width / aspect, MOST_PICTURE));
  const words = next + high + UNDER;
  return {
    seen, chips: [0, top, width, chipsHigh], given: [0, next, Math.round(high * aspect), high], unit: high / extent[3],
    words: [0, words, width, wordsHigh], bottom: words + wordsHigh + 4,
  };
}

/** A patch on the picture of the input. @param {ImagePlace} place @param {ImageLayout} layout @param {number} row @param {number} column @returns {Rect} */
export function patchOnSeen({ input, patch }, { seen }, row, column) {
  const [x, y] = [seen[2] / input[0], seen[3] / input[1]];
  return [seen[0] + column * patch[1] * x, seen[1] + row * patch[0] * y, patch[1] * x, patch[0] * y];
}

/** All patches on the picture of the input. @param {ImagePlace} place @param {ImageLayout} layout @returns {Rect} */
export function gridOnSeen(place, layout) {
  const [x, y, w, h] = patchOnSeen(place, layout, 0, 0);
  return [x, y, w * place.grid[1], h * place.grid[0]];
}

/** A patch on the picture as given. @param {ImagePlace} place @param {ImageLayout} layout @param {number} row @param {number} column @returns {Rect | null} */
export function patchOnGiven(place, layout, row, column) {
  if (!layout.given || !place.box) return null;
  const { box, input: [w, h], patch } = place;
  const [x, y] = [box[2] / w, box[3] / h]; // pixels of the image for one of the input
  return onGiven(place, layout, [box[0] + column * patch[1] * x, box[1] + row * patch[0] * y, patch[1] * x, patch[0] * y]);
}

/** A part of the image, on its picture. @param {ImagePlace} place @param {ImageLayout} layout @param {Rect} part @returns {Rect | null} */
export function onGiven(place, { given, unit }, [x, y, w, h]) {
  if (!given) return null;
  const [left, top] = extentOf(place);
  return [given[0] + (x - left) * unit, given[1] + (y - top) * unit, w * unit, h * unit];
}

/** The patch at a point of either picture: its row and its column. @param {ImagePlace} place @param {ImageLayout} layout @param {number} x @param {number} y @returns {[number, number] | null} */
export function patchAt(place, layout, x, y) {
  for (const rect of [patchOnSeen(place, layout, 0, 0), patchOnGiven(place, layout, 0, 0)]) {
    if (!rect) continue;
    const [row, column] = [Math.floor((y - rect[1]) / rect[3]), Math.floor((x - rect[0]) / rect[2])];
    if (row >= 0 && column >= 0 && row < place.grid[0] && column < place.grid[1]) return [row, column];
  }
  return null;
}
