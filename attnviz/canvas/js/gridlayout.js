// Positions of the heads' thumbnails: by layer, or in the order of a metric.

import { shortNumber } from "./codecs.js";

const GAP = 4; // px between thumbnails
const MARGIN = 30; // px left of thumbnails, for the numbers of layers or heads
const AXIS = 18; // px above them, for the other numbers
const HEADING = 24;
const NOTE_LINE = 16; // px of a line of text
const APART = 14; // px between kinds, and between groups
const NARROW = 16; // px that a number needs
const LEAST = 24; // px a thumbnail
const MOST = 112;
const ENOUGH = 40; // px that suffice where the grid must be scrolled anyway
const UNBROKEN = 1.15; // layers in one group are worth thumbnails smaller by this
const KINDS = { encoder: "Encoder self-attention", decoder: "Decoder self-attention", cross: "Cross-attention" };

/**
 * @typedef {object} Head
 * @property {number} layer
 * @property {number} head
 * @property {import("./payload.js").LayerHeader} block its layer
 * @property {string} short the layer's short name
 * @property {number} at offset of its cells
 * @property {Float32Array} numbers its metrics
 * @property {number} x @property {number} y @property {number} w @property {number} h
 * @property {boolean} faded filtered out @property {boolean} pending not computed yet
 * @property {HTMLCanvasElement | null} image
 */

/**
 * @typedef {import("./payload.js").LayerHeader} LayerHeader
 * @typedef {{x: number, y: number, text: string, align?: CanvasTextAlign, strong?: boolean, room?: number, short?: string}} Mark
 * @typedef {{shown: Head[], headings: Mark[], marks: Mark[], content: number}} GridLayout
 */

/**
 * The layers of one kind of attention that have heads to show, and notes on the others.
 * @typedef {object} Kind
 * @property {string} title
 * @property {{number: number, own: Head[]}[]} layers
 * @property {number} most heads of a layer
 * @property {number} wide a thumbnail's width as a share of its square @property {number} tall its height
 * @property {string[]} notes
 */

/**
 * How layers and heads are arranged: layers in rows, or turned, in columns; cut into groups side by
 * side or, if turned, one below the other; kinds of attention beside or below each other.
 * @typedef {{turned: boolean, groups: number, beside: boolean}} Plan
 */

/**
 * By layer, with the plan that shows the largest thumbnails without scrolling; if every plan makes
 * them too small, with the plan that shows many at once in a good size.
 * @param {Head[]} heads @param {LayerHeader[]} blocks the layers @param {number} width @param {number} height
 * @returns {GridLayout & {plan: Plan, side: number}}
 */
export function layoutByLayer(heads, blocks, width, height) {
  const kinds = [...new Set(blocks.map((b) => b.kind))].map((kind) =>
    kindOf(kind, blocks.filter((b) => b.kind === kind), heads));
  const { plan, side } = choosePlan(kinds, width, height);
  /** @type {GridLayout & {plan: Plan, side: number}} */
  const placed = { shown: [], headings: [], marks: [], content: 0, plan, side };
  const spare = (width - sizeOfAll(kinds, plan, side).width) / kinds.length; // beside: room for headings
  const apart = plan.beside ? APART + Math.max(0, Math.min(MOST, Math.floor(spare))) : APART;
  let [x, y] = [0, 0];
  for (const kind of kinds) {
    const size = sizeOf(kind, plan, side);
    layoutKind(placed, kind, plan, side, x, y, plan.beside ? size.width + apart - APART : width);
    placed.content = Math.max(placed.content, y + size.height);
    if (plan.beside) x += size.width + apart;
    else y += size.height + apart;
  }
  return placed;
}

/** @param {import("./payload.js").AttentionKind} kind @param {LayerHeader[]} blocks @param {Head[]} heads @returns {Kind} */
function kindOf(kind, blocks, heads) {
  const layers = blocks.map((block, number) => ({ number, own: heads.filter((h) => h.block === block) }));
  const some = layers.filter(({ own }) => own.length);
  const sides = some.map(({ own: [head] }) => [aspect(head), 1 / aspect(head)]);
  const largest = (/** @type {number} */ i) => Math.min(1, Math.max(0.2, ...sides.map((side) => side[i])));
  /** @type {Map<string | null, number[]>} */
  const left = new Map(); // numbers of layers by the reason why they aren't shown
  blocks.forEach(({ heads: h, reason }, n) => { if (!h) left.set(reason, [...(left.get(reason) ?? []), n]); });
  return {
    title: KINDS[kind], layers: some, most: Math.max(0, ...some.map(({ own }) => own.length)),
    wide: largest(0), tall: largest(1),
    notes: [...left].map(([reason, numbers]) => `Not shown: ${numbers.join(", ")}. ${reason}`),
  };
}

/** From one thumbnail to the next. @param {Kind} kind @param {number} side */
function pitchOf({ wide, tall }, side) {
  return [wide, tall].map((share) => Math.max(NARROW, Math.round(side * share)) + GAP);
}

/** @param {Kind} kind @param {Plan} plan @param {number} side */
function sizeOf(kind, { turned, groups }, side) {
  const cut = Math.ceil(kind.layers.length / groups);
  const [columns, rows] = turned ? [cut, kind.most] : [kind.most, cut];
  const [across, down] = pitchOf(kind, side);
  const many = cut ? Math.ceil(kind.layers.length / cut) : 0;
  const [width, height] = [MARGIN + columns * across, AXIS + rows * down];
  return {
    width: turned ? width : many * width + Math.max(0, many - 1) * APART,
    height: HEADING + (turned ? many * height : many && height) + kind.notes.length * NOTE_LINE,
  };
}

/** @param {Kind[]} kinds @param {Plan} plan @param {number} side */
function sizeOfAll(kinds, plan, side) {
  const sizes = kinds.map((kind) => sizeOf(kind, plan, side));
  const whole = (/** @type {"width" | "height"} */ name, /** @type {boolean} */ along) => {
    const each = sizes.map((size) => size[name]);
    return along ? each.reduce((a, b) => a + b + APART) : Math.max(...each);
  };
  return { width: whole("width", plan.beside), height: whole("height", !plan.beside) };
}

/** @param {Kind[]} kinds @param {number} width @param {number} height @returns {{plan: Plan, side: number}} */
function choosePlan(kinds, width, height) {
  const layers = Math.max(1, ...kinds.map((kind) => kind.layers.length));
  /** @type {Plan[]} */
  const plans = [];
  for (let groups = 1; groups <= layers; groups++) {
    for (const beside of kinds.length > 1 ? [false, true] : [false]) {
      for (const turned of [false, true]) plans.push({ turned, groups, beside });
    }
  }
  const best = (/** @type {number} */ most, /** @type {number} */ room) => {
    let found = { plan: plans[1], side: LEAST, worth: 0 };
    for (const plan of plans) {
      const fits = (/** @type {number} */ side) => {
        const size = sizeOfAll(kinds, plan, side);
        return size.width <= width && size.height <= room;
      };
      let side = most;
      while (side >= LEAST && !fits(side)) side--;
      if (side < LEAST) continue;
      const seen = Math.min(1, height / sizeOfAll(kinds, plan, side).height);
      const worth = (side * Math.sqrt(seen)) / (plan.groups > 1 ? UNBROKEN : 1);
      if (worth > found.worth) found = { plan, side, worth };
    }
    return found;
  };
  const whole = best(MOST, height);
  return whole.worth ? whole : best(ENOUGH, Infinity);
}

/**
 * @param {GridLayout} placed is filled @param {Kind} kind @param {Plan} plan @param {number} side
 * @param {number} x @param {number} y @param {number} room px for a heading
 */
function layoutKind(placed, kind, { turned, groups }, side, x, y, room) {
  const { layers, most } = kind;
  const [across, down] = pitchOf(kind, side);
  const cut = Math.ceil(layers.length / groups);
  const order = turned ? "layers →, heads ↓" : "layers ↓, heads →";
  placed.headings.push({ x: x + 2, y: y + HEADING / 2, text: `${kind.title} · ${order}`, short: kind.title, room: room - 4 });
  let bottom = y + HEADING;
  for (let from = 0; from < layers.length; from += cut) {
    const group = layers.slice(from, from + cut);
    const nth = from / cut;
    const left = x + MARGIN + (turned ? 0 : nth * (MARGIN + most * across + APART));
    const top = y + HEADING + AXIS + (turned ? nth * (AXIS + most * down) : 0);
    const above = (/** @type {number} */ column, /** @type {number} */ number) => placed.marks.push(
      { x: left + column * across + (across - GAP) / 2, y: top - 8, text: String(number), align: "center" });
    const before = (/** @type {number} */ row, /** @type {number} */ number) => placed.marks.push(
      { x: left - 7, y: top + row * down + (down - GAP) / 2, text: String(number), align: "right" });
    group.forEach(({ number, own }, n) => {
      (turned ? above : before)(n, number);
      own.forEach((head, h) => {
        const [column, row] = turned ? [n, h] : [h, n];
        [head.x, head.y] = [left + column * across, top + row * down];
        fillSquare(head, side);
        placed.shown.push(head);
      });
    });
    for (let h = 0; h < most; h++) (turned ? before : above)(h, h);
    bottom = Math.max(bottom, top + (turned ? most : group.length) * down);
  }
  kind.notes.forEach((text, i) => {
    placed.marks.push({ x: x + 2, y: bottom + (i + 0.5) * NOTE_LINE, text, align: "left", room: room - 12 });
  });
}

/**
 * The heads that pass the filter, in the order of a metric.
 * @param {Head[]} heads @param {number} metric @param {boolean} down highest first
 * @param {number} width @param {number} height
 * @returns {GridLayout}
 */
export function layoutByMetric(heads, metric, down, width, height) {
  const number = (/** @type {Head} */ h) => h.numbers[metric];
  const shown = heads.filter((h) => !h.faded && Number.isFinite(number(h)))
    .sort((a, b) => (down ? number(b) - number(a) : number(a) - number(b)) || a.layer - b.layer || a.head - b.head);
  const wide = width - 8;
  const below = 36; // px, two lines of text and a gap
  let side = 72;
  for (let s = MOST; s >= 56; s -= 4) {
    side = s;
    if (Math.ceil(shown.length / Math.floor(wide / (s + 10))) * (s + below) <= height) break;
  }
  const perLine = Math.max(1, Math.floor(wide / (side + 10)));
  const marks = /** @type {Mark[]} */ ([]);
  shown.forEach((head, i) => {
    head.x = 4 + (i % perLine) * (side + 10);
    head.y = 4 + Math.floor(i / perLine) * (side + below);
    fillSquare(head, side);
    marks.push({ x: head.x, y: head.y + side + 9, text: `${head.short} H${head.head}`, align: "left", room: side });
    marks.push({ x: head.x, y: head.y + side + 22, text: shortNumber(number(head)), align: "left", strong: true });
  });
  return { shown, headings: [], marks, content: 8 + Math.ceil(shown.length / perLine) * (side + below) };
}

/** A thumbnail keeps its map's shape inside its square. @param {Head} head @param {number} side */
function fillSquare(head, side) {
  head.w = Math.max(6, Math.round(side * Math.min(1, aspect(head))));
  head.h = Math.max(6, Math.round(side * Math.min(1, 1 / aspect(head))));
}

/** Columns by rows of a head's map. @param {Head} head */
function aspect({ block: { rows = 1, cols = 1 } }) {
  return cols / rows;
}
