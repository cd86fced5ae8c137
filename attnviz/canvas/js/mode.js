// What all modes share: hovering with the pointer or the keys, and controls in the toolbar.

import { listenToHover, tellHover } from "./hoverlink.js";

/**
 * @typedef {[string, string] | [string, string, string]} TipRow a name, a text, and perhaps a token after it
 * @typedef {string | [string, string]} TableCell a text, and perhaps a token after it
 * @typedef {{caption: string, columns: TableCell[], rows: TableCell[][]}} Table
 * @typedef {import("./stage.js").Stage} Stage
 * @typedef {(name: string, value: unknown) => void} Send reports a state to the page
 * @typedef {Record<string, (event: KeyboardEvent) => void>} KeyActions by the key's name
 */

/**
 * One of the canvas's drawings: items that can be hovered. Coordinates are CSS pixels on the canvas.
 * A mode overrides what it needs.
 * @template Item
 */
export class Mode {
  /** @param {Stage} stage @param {Send} send */
  constructor(stage, send) {
    this.stage = stage;
    this.send = send;
    this.label = ""; // for screen readers
    /** @type {HTMLElement[]} */
    this.tools = [];
    /** @type {HTMLElement[]} */
    this.legends = []; // under the picture
    /** @type {Item | null} */
    this.hovered = null; // by the pointer or by the keys
    this.keyScroll = -1; // scroll offset when a key chose what is hovered; -1: the pointer did
    /** @type {import("./hoverlink.js").LitTokens | null} */
    this.lit = null; // what is hovered in another canvas
    this._stopListening = listenToHover((lit, from) => { if (from !== this) this._light(lit); });
    /** @type {KeyActions} */
    this.keyActions = {};
  }

  // ---- what each mode says -------------------------------------------------------------------

  /** The item at a point. @param {number} _x @param {number} _y @returns {Item | null} */
  itemAt(_x, _y) {
    return null;
  }

  /** The tooltip of an item; without rows there is none. @param {Item} _item @returns {TipRow[]} */
  describe(_item) {
    return [];
  }

  /** The query and the key of an item, which light up in other canvases. @param {Item} _item @returns {import("./hoverlink.js").LitTokens | null} */
  tokensOf(_item) {
    return null;
  }

  /** A picture for the tooltip of an item. @param {Item} _item @returns {HTMLElement | null} */
  pictureOf(_item) {
    return null;
  }

  /** @param {Item | null} a @param {Item | null} b */
  sameItem(a, b) {
    return a === b;
  }

  /** Whether a click on it does something. @param {Item} _item */
  isClickable(_item) {
    return false;
  }

  /** What is hovered has changed. */
  hoverChanged() {
    this.stage.repaintOver();
  }

  /** The numbers in view. @returns {Table} */
  table() {
    return { caption: "", columns: [], rows: [] };
  }

  /** @param {CanvasRenderingContext2D} _ctx */
  draw(_ctx) {}

  /** What follows the pointer, on a canvas of its own. @param {CanvasRenderingContext2D} _ctx */
  drawOver(_ctx) {}

  /** What is written around a saved picture. @returns {import("./figure.js").FigureTexts} */
  figure() {
    return { title: this.stage.title, legends: [], note: "" };
  }

  /** Px of a saved picture. @returns {[number, number]} width and height */
  figureSize() {
    return [this.stage.width, this.contentHeight() || this.stage.height];
  }

  /** After a change of size. */
  layout() {}

  /** After a change of colors. */
  themed() {
    this.stage.repaint();
  }

  /** Px of what can be scrolled; 0 if nothing. */
  contentHeight() {
    return 0;
  }

  /** Px that the picture needs at the stage's width. */
  naturalHeight() {
    return this.contentHeight();
  }

  destroy() {
    this._stopListening();
    if (this.hovered !== null) tellHover(this, null);
  }

  // ---- pointer and keys ----------------------------------------------------------------------

  /** @param {number} x @param {number} y */
  hover(x, y) {
    const item = this.itemAt(x, y);
    const changed = !this.sameItem(item, this.hovered);
    this.keyScroll = -1;
    this.stage.picture.style.cursor = item !== null && this.isClickable(item) ? "pointer" : "";
    if (changed) this.setHovered(item);
    const rows = item === null ? [] : this.describe(item);
    if (item !== null && rows.length) this.stage.tip(x, y, rows, this.pictureOf(item));
    else this.stage.hideTip();
  }

  /** The pointer has left, or the picture has been scrolled. */
  leave() {
    if (this.keyScroll === this.stage.top) return; // the keys themselves scrolled
    this.stage.hideTip();
    if (this.keyScroll >= 0 || this.hovered === null) return; // what the keys chose stays
    this.setHovered(null);
  }

  /** @param {number} _x @param {number} _y @param {PointerEvent} _event */
  click(_x, _y, _event) {}

  /** @param {number} _x @param {number} _y */
  doubleClick(_x, _y) {}

  /** @param {number} _x @param {number} _y @param {PointerEvent} _event */
  press(_x, _y, _event) {}

  /** A move while pressed. @param {number} _x @param {number} _y @param {PointerEvent} _event @returns {boolean} whether it was a drag, not a hover */
  drag(_x, _y, _event) {
    return false;
  }

  /** @param {PointerEvent} _event */
  release(_event) {}

  /** @param {number} _x @param {number} _y @param {WheelEvent} _event @returns {boolean} whether it was handled */
  wheel(_x, _y, _event) {
    return false;
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether it was handled */
  key(event) {
    const act = Object.hasOwn(this.keyActions, event.key) ? this.keyActions[event.key] : undefined;
    act?.(event);
    return act !== undefined;
  }

  // ---- for modes to use ----------------------------------------------------------------------

  /** Hover an item, or nothing, here and in the other canvases. @param {Item | null} item */
  setHovered(item) {
    this.hovered = item;
    this.hoverChanged();
    tellHover(this, item === null ? null : this.tokensOf(item));
  }

  /** @param {import("./hoverlink.js").LitTokens | null} lit */
  _light(lit) {
    if (lit === null && this.lit === null) return;
    this.lit = lit;
    this.stage.repaintOver();
  }

  /**
   * Hover an item by key: scroll it into view, show its tooltip and read it out.
   * @param {Item} item
   * @param {{top: number, bottom: number, scrollTo: number}} extent in the content; where to scroll if out of view
   * @param {() => [number, number]} tipAt where its tooltip goes, after scrolling
   */
  hoverByKey(item, { top, bottom, scrollTo }, tipAt) {
    const { stage } = this;
    if (top < stage.top || bottom > stage.top + stage.height) stage.scroll.scrollTop = scrollTo;
    this.keyScroll = stage.top;
    this.readOut(item, ...tipAt());
    this.setHovered(item);
  }

  /** @param {Item} item @param {number} x @param {number} y */
  readOut(item, x, y) {
    const rows = this.describe(item);
    this.stage.tip(x, y, rows, this.pictureOf(item));
    this.stage.say(spoken(rows));
  }

  /** @param {HTMLElement[]} tools */
  setTools(tools) {
    this.tools = tools;
    this.stage.tools.replaceChildren(...tools);
  }
}

/** @param {TipRow[]} rows */
export function spoken(rows) {
  return rows.map((row) => row.join(" ")).join(", ");
}

/** Actions for the arrow keys. @param {(dx: number, dy: number, event: KeyboardEvent) => void} move @returns {KeyActions} */
export function arrowKeys(move) {
  return {
    ArrowLeft: (event) => move(-1, 0, event),
    ArrowRight: (event) => move(1, 0, event),
    ArrowUp: (event) => move(0, -1, event),
    ArrowDown: (event) => move(0, 1, event),
  };
}
