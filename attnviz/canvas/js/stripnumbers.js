// The numbers of a token in words: the tooltip of a chip, and the chips in view as a table.

import { MASKED } from "./codecs.js";
import { clippedRows } from "./scales.js";

/**
 * @typedef {import("./strip.js").StripMode} StripMode
 * @typedef {import("./payload.js").TokenNumber} TokenNumber
 */

export const STRIP_MEASURES = /** @type {const} */ (["received", "sent", "entropy"]);
export const STRIP_TITLES = { received: "Attention received", sent: "Attention given", entropy: "Entropy" };
const CHIPS_IN_TABLE = 200;

/** @param {StripMode} strip @param {number} chip */
export function describeChip(strip, chip) {
  const section = strip.sectionOf(chip);
  const what = strip.sections.length > 1 ? section.title.toLowerCase() : "token";
  const rows = /** @type {import("./mode.js").TipRow[]} */ ([[what, `${strip.indexOf(chip)} · `, strip.names[chip]]]);
  const id = section.ids[strip.indexOf(chip)];
  const odd = strip.oddOf(chip);
  if (odd?.unknown) rows.push(["", `unknown (${strip.names[chip]}, id ${id})`]);
  else if (id >= 0) rows.push(["id", String(id)]);
  if (odd && odd.text !== strip.names[chip]) rows.push(["in the text", "", odd.text]);
  if (id >= 0 && !odd?.unknown) rows.push(["bytes", odd?.bytes ?? bytesOf(strip.names[chip])]);
  if (section.side === null) rows.push(["", "this head does not attend to this text"]);
  for (const name of numbersOf(strip, section)) rows.push([headingOf(strip, name), numberText(strip, name, chip)]);
  const { scale, codec, codes } = strip;
  if (scale && codes[chip] !== MASKED) rows.push(...clippedRows(scale, codec.values[codes[chip]]));
  return rows;
}

/** A name's bytes in UTF-8, as hexadecimal. @param {string} name */
function bytesOf(name) {
  const bytes = [...new TextEncoder().encode(name)].map((byte) => byte.toString(16).toUpperCase().padStart(2, "0"));
  return bytes.length > 24 ? `${bytes.slice(0, 24).join(" ")} …` : bytes.join(" ");
}

/** @param {StripMode} strip @returns {import("./mode.js").Table} */
export function tableOfChips(strip) {
  const [first, last] = strip._window();
  const from = strip.lines[first]?.from ?? 0;
  const to = Math.min(strip.lines[last - 1]?.to ?? 0, from + CHIPS_IN_TABLE);
  const numbers = new Map(strip.sections.map((section) => [section, numbersOf(strip, section)]));
  const columns = /** @type {TokenNumber[]} */ (["from", "to", ...STRIP_MEASURES])
    .filter((name) => [...numbers.values()].some((names) => names.includes(name)));
  /** @type {import("./mode.js").Table["rows"]} */
  const rows = [];
  for (let chip = from; chip < to; chip++) {
    const section = strip.sectionOf(chip);
    const index = `${strip.sections.length > 1 ? `${section.title} ` : ""}${chip - section.start} `;
    rows.push([[index, strip.names[chip]],
      ...columns.map((name) => (numbers.get(section)?.includes(name) ? numberText(strip, name, chip) : ""))]);
  }
  return { caption: strip.header?.title ?? "", columns: ["token", ...columns.map((name) => headingOf(strip, name))], rows };
}

/** The numbers that are defined for the tokens of a text. @param {StripMode} strip @param {import("./striplayout.js").Section} section */
function numbersOf(strip, { keys, queries, side }) {
  /** @type {TokenNumber[]} */
  const names = [];
  if (strip.known !== null && side !== null) {
    const focused = strip.sectionOf(strip.known);
    const isQuery = focused.queries !== null && strip.indexOf(strip.known) >= focused.queries;
    if (keys && isQuery) names.push("from");
    if (queries !== null && focused.keys) names.push("to");
  }
  if (keys) names.push("received");
  if (queries !== null && strip.header?.kind !== "cross") names.push("sent");
  if (queries !== null) names.push("entropy");
  return names;
}

/** @param {StripMode} strip @param {TokenNumber} name */
function headingOf(strip, name) {
  const index = strip.known === null ? "" : strip.indexOf(strip.known);
  if (name === "from") return `attention from ${index}`;
  return name === "to" ? `attention to ${index}` : STRIP_TITLES[name].toLowerCase();
}

/** @param {StripMode} strip @param {TokenNumber} name @param {number} chip */
function numberText(strip, name, chip) {
  const code = strip.arrays[name]?.[chip] ?? MASKED;
  if (code === MASKED) return name === "from" || name === "to" ? "masked" : "–";
  return name === "entropy" ? `${strip.bitsCodec.text(code)} bits` : strip.weightCodec.text(code);
}
