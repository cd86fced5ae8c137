// The text as chips that wrap, each tinted by what a head does with its token.

import { codecOf, MASKED } from "./codecs.js";
import { context2d, dropdown, element, plainButton } from "./dom.js";
import { tokenOn } from "./hoverlink.js";
import { Legend } from "./legend.js";
import { arrowKeys, Mode } from "./mode.js";
import { clippedBy, countsOf, endsOf, rampPosition } from "./scales.js";
import { stripScale } from "./stripcolors.js";
import { CHIP_SMALL, CHIP_TEXT, drawChips, drawLitChips, outlineChip } from "./stripdraw.js";
import { chipBelow, foldedHeight, layoutChips, lineAt, lineIndexOf, STRIP_EDGE } from "./striplayout.js";
import { describeChip, STRIP_MEASURES, STRIP_TITLES, tableOfChips } from "./stripnumbers.js";

const CHIP_LONGEST = 260; // px of one token
const STRIP_LOG_FROM = 128; // tokens: among more, the many weak ones would all look alike
const SAME_CLICK = 350; // ms within which a second click on a token belongs to the first

/**
 * @typedef {import("./payload.js").Measure} Measure
 * @typedef {import("./payload.js").TokenNumber} TokenNumber
 * @typedef {import("./payload.js").StripHeader} StripHeader
 * @typedef {import("./striplayout.js").Section} Section
 */

/** Items are chips, numbered over all texts. @extends {Mode<number>} */
export class StripMode extends Mode {
  /** @param {import("./mode.js").Stage} stage @param {import("./mode.js").Send} send */
  constructor(stage, send) {
    super(stage, send);
    this.label = "Tokens";
    /** @type {StripHeader | null} */
    this.header = null;
    /** @type {import("./payload.js").StripArrays} */
    this.arrays = { received: new Uint16Array(0), sent: new Uint16Array(0), entropy: new Uint16Array(0) };
    this.weightCodec = codecOf({ kind: "significant" });
    this.bitsCodec = this.weightCodec;
    /** @type {Section[]} */
    this.sections = [];
    /** @type {string[]} */
    this.names = [];
    /** @type {Float32Array | null} */
    this.widths = null; // px of each chip
    this.digit = 0; // px of a digit of a position
    this.chips = layoutChips([], new Float32Array(0), 0);
    this.drawn = 0; // chips
    /** @type {Measure} */
    this.measure = "received";
    /** @type {"linear" | "log"} */
    this.scaleKind = "linear";
    /** @type {import("./scales.js").Scale | null} */
    this.scale = null;
    /** @type {number | null} */
    this.focus = null; // a chip
    /** @type {number | null} */
    this.known = null; // the focused chip, once its weights are here
    this.clicked = { chip: -1, at: -Infinity };
    this.measures = dropdown("Measure", STRIP_MEASURES.map((m) => /** @type {[Measure, string]} */ ([m, m])),
      this.measure, (measure) => { this.measure = measure; this._tint(); });
    this.scales = dropdown("Color scale", [["linear", "Color: linear"], ["log", "Color: log"]],
      this.scaleKind, (kind) => { this.scaleKind = kind; this._tint(); });
    this.legend = new Legend();
    this.written = element("span", { class: "legend written" }, [element("i"), "generated"]);
    /** @type {Set<number>} */
    this.unknowns = new Set(); // chips
    this.unknown = element("span", { class: "legend" });
    this.opened = false; // all lines, rather than the first of each text
    this.opener = plainButton("", "Show all tokens, or the first line alone", () => this._open(!this.opened));
    this.setTools([this.measures, this.scales, this.opener]);
    this.legends = [this.legend.element, this.written, this.unknown];
    this.keyActions = {
      ...arrowKeys((dx, dy) => this._step(dx, dy)),
      Home: () => this._goTo(0),
      End: () => this._goTo(this.names.length - 1),
      Enter: () => this._focusCurrent(),
      " ": () => this._focusCurrent(),
      Escape: () => this.focusOn(null),
    };
  }

  /** @param {import("./payload.js").StripPayload} payload */
  receive({ header, arrays }) {
    const before = this.header;
    this.header = header;
    this.arrays = arrays;
    this.weightCodec = codecOf(header.weights);
    this.bitsCodec = codecOf(header.bits);
    let start = 0;
    this.sections = header.sections.map((section) => {
      const numbered = { ...section, start, stop: start + section.names.length };
      start = numbered.stop;
      return numbered;
    });
    this.unknowns = new Set(this.sections.flatMap(({ odd, start: from }) =>
      odd.filter((one) => one.unknown).map((one) => from + one.at)));
    const unknown = this.unknowns.size;
    this.unknown.textContent = unknown ? `${unknown} token${unknown > 1 ? "s" : ""} unknown to the vocabulary` : "";
    this.names = header.sections.flatMap((section) => section.names);
    this.written.hidden = !this.sections.some((s) => s.written !== null && s.written < s.names.length);
    this.focus = this.known = header.focus && this._chipOf(...header.focus);
    if (textsOf(before) !== textsOf(header)) {
      this.widths = null;
      this.setHovered(null);
      this._open(false);
      this.scaleKind = this.names.length > STRIP_LOG_FROM ? "log" : "linear";
      this.scales.value = this.scaleKind;
    }
    if (before?.measure !== header.measure) this.measure = header.measure;
    if (header.kind === "cross" && this.focus !== null && this.measure !== "entropy") {
      // a query of cross-attention only sends and a key only receives
      this.measure = this.sectionOf(this.focus).keys ? "sent" : "received";
    }
    this.label = `${header.title}. ${this.names.length} tokens in reading order, colored by this head's attention. ` +
      "Arrow keys move, Enter selects a token, Escape clears.";
    this._tint();
    this.stage.resize();
    this._revealFocus();
  }

  /** @param {import("./payload.js").Side} side @param {number} index */
  _chipOf(side, index) {
    const section = this.sections.find((s) => s.side === side);
    return section && index < section.names.length ? section.start + index : null;
  }

  /** @param {number} chip @returns {Section} */
  sectionOf(chip) {
    return this.sections.find((s) => chip < s.stop) ?? this.sections[this.sections.length - 1];
  }

  /** What is to be said of a chip whose name is not simply its text. @param {number} chip */
  oddOf(chip) {
    const at = this.indexOf(chip);
    return this.sectionOf(chip).odd.find((one) => one.at === at) ?? null;
  }

  /** A chip's position in its text. @param {number} chip */
  indexOf(chip) {
    return chip - this.sectionOf(chip).start;
  }

  // ---- colors --------------------------------------------------------------------------------

  /** The number that tints the chips. @returns {TokenNumber} */
  get _tinting() {
    if (this.known === null || this.measure === "entropy") return this.measure;
    return this.measure === "received" ? "from" : "to";
  }

  get codes() {
    return this.arrays[this._tinting] ?? new Uint16Array(0);
  }

  get codec() {
    return this.measure === "entropy" ? this.bitsCodec : this.weightCodec;
  }

  /** @param {Measure} measure */
  _title(measure) {
    if (this.known === null || measure === "entropy") return STRIP_TITLES[measure];
    const name = `“${[...this.names[this.known]].slice(0, 24).join("").trim()}” (${this.indexOf(this.known)})`;
    return measure === "received" ? `What ${name} attends to` : `What attends to ${name}`;
  }

  /** Apply the measure: its scale, its names, its legend. */
  _tint() {
    for (const option of this.measures.options) option.textContent = this._title(/** @type {Measure} */ (option.value));
    this.measures.value = this.measure;
    this.measures.title = this.header?.helps[this._tinting] ?? "";
    // weights of keys, rather than a number of each query
    const ofKeys = this.measure === "received" || (this.measure === "sent" && this.known !== null);
    this.scale = stripScale(this.codes, this.codec, ofKeys ? this.scaleKind : "range");
    this.scales.disabled = !ofKeys;
    this.legend.element.hidden = !this.scale;
    if (this.scale) {
      const clipped = clippedBy(this.scale, countsOf(this.codes), this.codec.values);
      const ends = endsOf(this.scale, clipped, this.measure === "entropy" ? " bits" : "");
      this.legend.show(this.stage.theme, { ...ends, ramp: this.stage.theme.sequential, masked: false });
    }
    this.written.style.setProperty("--color", this.stage.theme.primary);
    this._status();
    this.stage.repaint();
    this.stage.fillTable();
  }

  /** What the picture doesn't show, in words. */
  _status() {
    if (this.focus !== null) {
      const name = `“${this.names[this.focus].trim()}” (${this.indexOf(this.focus)})`;
      if (this.known === this.focus) this.stage.status(`Showing ${name}. Click again to clear.`);
      else this.stage.loading(`Loading the weights of ${name}…`);
    } else if (!this.scale) this.stage.status(this.header?.helps[this.measure] ?? "");
    else this.stage.status(this.header?.offline ? "" : "Click a token to see what it attends to and what attends to it.");
  }

  themed() {
    if (this.header) this._tint();
  }

  /** The packed color of a chip, or null. @param {number} chip */
  colorOf(chip) {
    const code = this.codes[chip];
    if (code === MASKED || !this.scale) return null;
    return this.stage.theme.sequential[Math.round(rampPosition(this.scale, this.codec.values[code], code) * 255)];
  }

  // ---- layout --------------------------------------------------------------------------------

  layout() {
    if (!this.header) return;
    this.widths ??= this._measure();
    this.chips = layoutChips(this.sections, this.widths, this.stage.width);
  }

  /** Px of each chip: its text and its position. */
  _measure() {
    const ctx = context2d(this.stage.picture);
    /** @type {Map<string, number>} */
    const known = new Map();
    const widths = new Float32Array(this.names.length);
    ctx.font = this.stage.font(CHIP_SMALL);
    this.digit = ctx.measureText("0").width;
    ctx.font = this.stage.font(CHIP_TEXT);
    for (const section of this.sections) {
      for (let chip = section.start; chip < section.stop; chip++) {
        const name = this.names[chip];
        const width = known.get(name) ?? Math.max(6, Math.min(CHIP_LONGEST, ctx.measureText(name).width));
        known.set(name, width);
        widths[chip] = width + this.digit * String(chip - section.start).length + 20;
      }
    }
    return widths;
  }

  get lines() {
    return this.chips.lines;
  }

  contentHeight() {
    return this.chips.content;
  }

  naturalHeight() {
    this.layout();
    const folded = this.header?.compact && !this.opened;
    const closed = folded ? foldedHeight(this.chips) : this.chips.content;
    this.opener.hidden = this.header?.compact !== true || (folded === true && closed === this.chips.content);
    return closed;
  }

  /** Scroll to the line of the focus, if it is not on screen. */
  _revealFocus() {
    if (this.focus === null || !this.lines.length) return;
    const { y, h } = this.lines[lineIndexOf(this.lines, this.focus)];
    const { top, height, scroll } = this.stage;
    if (y < top || y + h > top + height) scroll.scrollTop = y - STRIP_EDGE;
  }

  /** @param {boolean} opened */
  _open(opened) {
    this.opened = opened;
    this.opener.textContent = opened ? "One line" : "All tokens";
    this.opener.setAttribute("aria-expanded", String(opened));
    this.stage.resize();
    this._revealFocus();
  }

  /** A chip on the canvas. @param {number} chip */
  boxOf(chip) {
    const line = this.lines[lineIndexOf(this.lines, chip)];
    return { x: this.chips.xs[chip], y: line.y - this.stage.top, w: this.chips.shown[chip], h: line.h };
  }

  /** Lines on screen. @returns {import("./payload.js").Span} */
  _window() {
    const { top, height } = this.stage;
    const first = this.lines.findIndex((line) => line.y + line.h > top);
    if (first < 0) return [0, 0];
    const below = this.lines.findIndex((line) => line.y >= top + height);
    return [first, below < 0 ? this.lines.length : below];
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  itemAt(x, y) {
    const line = lineAt(this.lines, y + this.stage.top);
    if (!line) return null;
    for (let chip = line.from; chip < line.to; chip++) {
      if (x >= this.chips.xs[chip] && x < this.chips.xs[chip] + this.chips.shown[chip]) return chip;
    }
    return null;
  }

  /** @param {number} chip */
  isClickable(chip) {
    return this._token(chip) !== null;
  }

  /** @param {number} x @param {number} y @param {PointerEvent} event */
  click(x, y, event) {
    const chip = this.itemAt(x, y);
    const twice = chip === this.clicked.chip && event.timeStamp - this.clicked.at < SAME_CLICK;
    this.clicked = { chip: chip ?? -1, at: event.timeStamp };
    if (chip !== null && !twice) this.focusOn(chip);
  }

  /** The token of a chip, if it can be focused. @param {number} chip @returns {import("./payload.js").Token | null} */
  _token(chip) {
    const section = this.sectionOf(chip);
    return section.side && !this.header?.offline ? { side: section.side, index: chip - section.start } : null;
  }

  /** Focus a chip; the focused one, or null, ends the focus. @param {number | null} chip */
  focusOn(chip) {
    const next = chip === this.focus ? null : chip;
    const token = next === null ? null : this._token(next);
    if (next === null ? this.focus === null : !token) return;
    this.focus = next;
    if (next === null) {
      this.known = null;
      this._tint();
      this.stage.say("Selection cleared.");
    } else {
      this._status();
      this.stage.say(`Focused: ${token?.index} ${this.names[next]}`);
    }
    this.stage.repaint();
    this.send("token", token);
  }

  _focusCurrent() {
    const now = this.hovered ?? this.focus;
    if (now !== null) this.focusOn(now);
  }

  /** @param {number} dx chips @param {number} dy lines */
  _step(dx, dy) {
    const now = this.hovered ?? this.focus;
    if (now === null) this._goTo(0);
    else this._goTo(dy ? chipBelow(this.chips, now, dy) : Math.max(0, Math.min(this.names.length - 1, now + dx)));
  }

  /** @param {number} chip */
  _goTo(chip) {
    if (!this.names.length) return;
    const { y, h } = this.lines[lineIndexOf(this.lines, chip)];
    this.hoverByKey(chip, { top: y, bottom: y + h, scrollTo: y - (this.stage.height - h) / 2 }, () => {
      const box = this.boxOf(chip);
      return [box.x, box.y + box.h - 10];
    });
  }

  // ---- numbers -------------------------------------------------------------------------------

  /** @param {number} chip */
  describe(chip) {
    return describeChip(this, chip);
  }

  /** @param {number} chip */
  tokensOf(chip) {
    const token = tokenOn([this.sectionOf(chip).axis, 0], this.indexOf(chip));
    return { query: token, key: token };
  }

  table() {
    return tableOfChips(this);
  }

  // ---- drawing -------------------------------------------------------------------------------

  /** @param {CanvasRenderingContext2D} ctx */
  draw(ctx) {
    this.drawn = drawChips(ctx, this, this._window());
  }

  /** @param {CanvasRenderingContext2D} ctx */
  drawOver(ctx) {
    drawLitChips(ctx, this, this.lit);
    if (this.hovered === null || this.hovered === this.focus) return;
    outlineChip(ctx, this.boxOf(this.hovered), this.stage.theme.text, 1.5);
  }

  figure() {
    const help = this.header?.helps[this._tinting] ?? "";
    const sentence = help && `${help[0].toUpperCase()}${help.slice(1)}.`;
    const made = this.written.hidden ? "" : " Underlined tokens were generated by the model.";
    const scale = this.scale?.kind === "log" ? ", log scale" : "";
    return { title: this.stage.title, legends: this.legend.inFigure(this._title(this.measure) + scale), note: sentence + made };
  }
}

/** The texts, to compare. @param {StripHeader | null} header */
function textsOf(header) {
  return JSON.stringify(header?.sections.map((section) => [section.title, section.names]));
}
