// The text as chips that wrap, each tinted by what a head does with its token.

import { codecOf, MASKED } from "./codecs.js";
import { rampPosition } from "./scales.js";
import { dropdown, element } from "./dom.js";
import { CHIP_SMALL, CHIP_TEXT, drawChips, outlineChip } from "./stripdraw.js";
import { layoutChips, lineAt } from "./striplayout.js";
import { moveInStrip } from "./stripkeys.js";
import { drawStripLegend, stripScale } from "./stripcolors.js";

const CHIP_LONGEST = 260; // px of one token
const STRIP_LOG_FROM = 128; // tokens: among more, the many weak ones would all look alike
const SAME_CLICK = 350; // ms within which a second click on a token belongs to the first
const STRIP_TABLE_ROWS = 200;
const STRIP_MEASURES = /** @type {const} */ (["received", "sent", "entropy"]);

/** @typedef {{side: "row" | "col", index: number}} Token */
/** @typedef {"received" | "sent" | "entropy"} Measure */

export class StripMode {
  /** @param {import("./stage.js").Stage} stage @param {(name: string, value: any) => void} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    /** @type {Measure} */
    this.measure = "received";
    /** @type {"linear" | "log"} */
    this.scaleKind = "linear";
    /** @type {number | null} */
    this.focus = null; // a chip
    /** @type {number | null} */
    this.known = null; // the focused chip whose weights are here
    /** @type {number | null} */
    this.hovered = null;
    /** @type {number | null} */
    this.cursor = null; // where the keys are
    this.walking = false; // the keys, not the hand, make it scroll
    this.clicked = { chip: -1, at: -Infinity };
    this.content = 0;
    this.label = "Tokens";
    this._build();
  }

  _build() {
    this.measures = dropdown("Measure", STRIP_MEASURES.map((m) => [m, this._title(m)]), this.measure, (measure) => {
      this.measure = /** @type {Measure} */ (measure);
      this._tint();
    });
    this.scales = dropdown("Colour scale", [["linear", "Linear colours"], ["log", "Log colours"]],
      this.scaleKind, (kind) => { this.scaleKind = /** @type {any} */ (kind); this._tint(); });
    this.legend = element("span", { class: "legend" }, [
      element("span"), element("canvas", { width: 96, height: 10 }), element("span")]);
    this.written = element("span", { class: "legend written" }, [element("i"), "written by the model"]);
    this.tools = [this.measures, this.scales, this.legend, this.written];
  }

  /** @param {import("./payload.js").Payload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    this.header = header;
    this.arrays = arrays;
    this.codecs = { received: codecOf(header.weights), sent: codecOf(header.weights), entropy: codecOf(header.bits) };
    const texts = (h) => JSON.stringify(h?.sections.map((s) => [s.title, s.names]));
    const elsewhere = texts(before) !== texts(header);
    let start = 0;
    this.sections = header.sections.map((section) => {
      const placed = { ...section, start, stop: start + section.names.length };
      start = placed.stop;
      return placed;
    });
    this.names = header.sections.flatMap((section) => section.names);
    this.written.hidden = !this.sections.some((s) => s.written !== null && s.written < s.names.length);
    this.focus = this.known = header.focus && this._chipOf(header.focus[0], header.focus[1]);
    if (elsewhere) {
      this.cursor = this.hovered = this.widths = null;
      this.scaleKind = this.names.length > STRIP_LOG_FROM ? "log" : "linear";
      this.scales.value = this.scaleKind;
    }
    if (before?.measure !== header.measure) this.measure = header.measure;
    if (header.kind === "cross" && this.focus !== null) this._turn();
    this.label = `${header.title}. ${this.names.length} tokens in reading order, tinted by what this head does. ` +
      "Arrow keys walk, Enter focuses a token, Escape lets go.";
    this._tint();
    this.stage.resize();
  }

  _chipOf(side, index) {
    const section = this.sections.find((s) => s.side === side);
    return section && index < section.names.length ? section.start + index : null;
  }

  _sectionOf(chip) {
    return this.sections.find((s) => chip < s.stop);
  }

  /** A chip's place in its text. @param {number} chip */
  _indexOf(chip) {
    return chip - this._sectionOf(chip).start;
  }

  /** A query of cross-attention only gives and a key only gets: show that. */
  _turn() {
    if (this.measure !== "entropy") this.measure = this._sectionOf(this.focus).keys ? "sent" : "received";
  }

  // ---- colors -------------------------------------------------------------------------------

  /** Codes that tint the chips. */
  get codes() {
    if (this.known === null || this.measure === "entropy") return this.arrays[this.measure];
    return this.arrays[this.measure === "received" ? "from" : "to"];
  }

  /** @param {string} measure */
  _title(measure) {
    const title = measure[0].toUpperCase() + measure.slice(1);
    if (this.known === null || measure === "entropy") return title;
    const name = [...this.names[this.known]].slice(0, 24).join("");
    return `${title} ${measure === "received" ? "from" : "to"} ${this._indexOf(this.known)} · ${name}`;
  }

  /** Take up the measure: its scale, its names, its legend. */
  _tint() {
    [...this.measures.options].forEach((option) => { option.textContent = this._title(option.value); });
    this.measures.value = this.measure;
    this.measures.title = this.header.helps[this.known === null || this.measure === "entropy" ? this.measure
      : this.measure === "received" ? "from" : "to"];
    this.codec = this.codecs[this.measure];
    this.scale = stripScale(this.codes, this.codec, this._ofKeys ? this.scaleKind : "range");
    this.scales.disabled = !this._ofKeys;
    drawStripLegend(this.legend, this.scale, this.stage.theme, this.measure === "entropy" ? " bits" : "");
    this.written.style.setProperty("--color", this.stage.theme.primary);
    this._status();
    this.stage.repaint();
    this.stage.fillTable();
  }

  /** Weights on a few tokens, rather than a number of each query. */
  get _ofKeys() {
    return this.measure === "received" || (this.measure === "sent" && this.known !== null);
  }

  /** What is not on the picture, in words. */
  _status() {
    if (this.focus !== null) {
      const name = `${this._indexOf(this.focus)} · ${this.names[this.focus]}`;
      if (this.known === this.focus) this.stage.status(`${name} is focused; click it again to let go.`);
      else this.stage.status(`Reading the weights of ${name}…`);
    } else if (!this.scale) this.stage.status(this.header.helps[this.measure]);
    else this.stage.status(this.header.offline ? "" : "Click a token to see what it gives to each token and gets from each.");
  }

  themed() {
    if (this.header) this._tint();
  }

  /** The packed color of a chip, or null. */
  colorOf(chip) {
    const code = this.codes[chip];
    if (code === MASKED || !this.scale) return null;
    return this.stage.theme.sequential[Math.round(rampPosition(this.scale, this.codec.values[code], code) * 255)];
  }

  // ---- where things are ----------------------------------------------------------------------

  layout() {
    if (!this.header) return;
    this.widths ??= this._measured();
    Object.assign(this, layoutChips(this.sections, this.widths, this.stage.width));
  }

  /** Of each chip, what its text and its position take, in px. */
  _measured() {
    const ctx = this.stage.picture.getContext("2d");
    const known = new Map();
    const widths = new Float32Array(this.names.length);
    ctx.font = this.stage.font(CHIP_SMALL);
    const digit = ctx.measureText("0").width;
    ctx.font = this.stage.font(CHIP_TEXT);
    for (const section of this.sections) {
      for (let chip = section.start; chip < section.stop; chip++) {
        const name = this.names[chip];
        let width = known.get(name);
        if (width === undefined) known.set(name, (width = Math.max(6, Math.min(CHIP_LONGEST, ctx.measureText(name).width))));
        widths[chip] = width + digit * String(chip - section.start).length + 20;
      }
    }
    this.digit = digit;
    return widths;
  }

  contentHeight() {
    return this.content;
  }

  naturalHeight() {
    this.layout();
    return this.content;
  }

  /** @returns {number | null} */
  _chipAt(x, y) {
    const line = this.lines && lineAt(this.lines, y + this.stage.top);
    if (!line) return null;
    for (let chip = line.from; chip < line.to; chip++) {
      if (x >= this.xs[chip] && x < this.xs[chip] + this.shown[chip]) return chip;
    }
    return null;
  }

  /** Where a chip is on the canvas. */
  boxOf(chip) {
    const line = this.lineOf(chip);
    return { x: this.xs[chip], y: line.y - this.stage.top, w: this.shown[chip], h: line.h };
  }

  lineOf(chip) {
    let [low, high] = [0, this.lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle].from <= chip) low = middle;
      else high = middle - 1;
    }
    return this.lines[low];
  }

  // ---- the hand ------------------------------------------------------------------------------

  hover(x, y) {
    const chip = this._chipAt(x, y);
    const free = chip !== null && this._address(chip) !== null;
    this.stage.picture.style.cursor = free ? "pointer" : "";
    if (chip !== this.hovered) {
      this.hovered = chip;
      this.cursor = null;
      this.stage.repaintOver();
    }
    if (chip !== null) this.stage.tip(x, y, this.describe(chip));
    else this.stage.hideTip();
  }

  leave() {
    if (this.walking) {
      this.walking = false;
      return;
    }
    this.hovered = null;
    this.stage.hideTip();
    this.stage.repaintOver();
  }

  click(x, y, event) {
    const chip = this._chipAt(x, y);
    const twice = chip === this.clicked.chip && event.timeStamp - this.clicked.at < SAME_CLICK;
    this.clicked = { chip: chip ?? -1, at: event.timeStamp };
    if (chip !== null && !twice) this.hold(chip);
  }

  /** @returns {Token | null} */
  _address(chip) {
    const section = this._sectionOf(chip);
    return section.side && !this.header.offline ? { side: section.side, index: chip - section.start } : null;
  }

  /** Focus a chip; the focused one, or null, lets go. */
  hold(chip) {
    const next = chip === this.focus ? null : chip;
    const address = next === null ? null : this._address(next);
    if (next === null ? this.focus === null : !address) return;
    this.focus = next;
    if (next === null) {
      this.known = null;
      this._tint();
      this.stage.say("No token is focused.");
    } else {
      this._status();
      this.stage.say(`Focused: ${address?.index} ${this.names[next]}`);
    }
    this.stage.repaint();
    this.send("token", address);
  }

  key(event) {
    return moveInStrip(this, event);
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** The numbers that mean something for the tokens of a text. @param {any} section @returns {string[]} */
  _numbersOf({ keys, queries, side }) {
    const names = [];
    if (this.known !== null && side !== null) {
      const focused = this._sectionOf(this.known);
      const asks = focused.queries !== null && this._indexOf(this.known) >= focused.queries;
      if (keys && asks) names.push("from");
      if (queries !== null && focused.keys) names.push("to");
    }
    if (keys) names.push("received");
    if (queries !== null) names.push(...(this.header.kind === "cross" ? ["entropy"] : ["sent", "entropy"]));
    return names;
  }

  _heading(name) {
    if (name === "from") return `received from ${this._indexOf(this.known)}`;
    return name === "to" ? `sent to ${this._indexOf(this.known)}` : name;
  }

  /** @param {string} name @param {number} chip */
  _text(name, chip) {
    const code = this.arrays[name][chip];
    if (code === MASKED) return name === "from" || name === "to" ? "masked" : "–";
    return name === "entropy" ? `${this.codecs.entropy.text(code)} bits` : this.codecs.received.text(code);
  }

  /** @param {number} chip @returns {import("./stage.js").TipRow[]} */
  describe(chip) {
    const section = this._sectionOf(chip);
    const what = this.sections.length > 1 ? section.title.toLowerCase() : "token";
    const rows = /** @type {import("./stage.js").TipRow[]} */ ([[what, `${this._indexOf(chip)} · `, this.names[chip]]]);
    if (section.side === null) rows.push(["", "this head does not look at this text"]);
    for (const name of this._numbersOf(section)) rows.push([this._heading(name), this._text(name, chip)]);
    return rows;
  }

  table() {
    const [first, last] = this._window();
    const from = this.lines[first]?.from ?? 0;
    const to = Math.min(this.lines[last - 1]?.to ?? 0, from + STRIP_TABLE_ROWS);
    const sections = this.sections.map((section) => this._numbersOf(section));
    const columns = ["from", "to", ...STRIP_MEASURES].filter((name) => sections.some((names) => names.includes(name)));
    const rows = [];
    for (let chip = from; chip < to; chip++) {
      const section = this._sectionOf(chip);
      const own = sections[this.sections.indexOf(section)];
      const place = `${this.sections.length > 1 ? `${section.title} ` : ""}${this._indexOf(chip)} `;
      rows.push([[place, this.names[chip]], ...columns.map((name) => (own.includes(name) ? this._text(name, chip) : ""))]);
    }
    return { caption: this.header.title, columns: ["token", ...columns.map((name) => this._heading(name))], rows };
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** Lines on screen: first and one past the last. */
  _window() {
    const { top, height } = this.stage;
    const first = this.lines.findIndex((line) => line.y + line.h > top);
    if (first < 0) return [0, 0];
    let last = first;
    while (last < this.lines.length && this.lines[last].y < top + height) last++;
    return [first, last];
  }

  draw(ctx) {
    if (this.lines) this.drawn = drawChips(ctx, this, this._window());
  }

  drawOver(ctx) {
    const chip = this.cursor ?? this.hovered;
    if (chip === null || !this.lines || chip === this.focus) return;
    outlineChip(ctx, this.boxOf(chip), this.stage.theme.text, 1.5);
  }

  destroy() {}
}
