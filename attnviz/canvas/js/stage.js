// What every mode draws on: a toolbar, a sharp canvas that scrolls, a tooltip, a table.

import { context2d, element, plainButton } from "./dom.js";
import { saveMenu } from "./savemenu.js";
import { readTheme } from "./theme.js";

/**
 * @typedef {import("./mode.js").Mode<any>} Mode
 * @typedef {import("./mode.js").TipRow} TipRow
 */

const BELOW = 18; // px left free under a canvas that fills the window
const ANSWER_MS = 30_000; // until the server's answer counts as missing
const CLICK_TRAVEL = 4; // px that a pointer may move during a click

/** A token may be written right to left: what precedes it must not move. @param {string} text @param {string} [token] */
function withToken(text, token) {
  return token === undefined ? [text] : [text, element("bdi", {}, [token])];
}

/** What scrolls the canvas: Streamlit's main part, outside of the component. @param {Element} root */
function pageOf(root) {
  const inside = root.getRootNode();
  return inside instanceof ShadowRoot ? inside.host.closest("[data-testid=stMain]") : null;
}

export class Stage {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.tools = element("div", { class: "tools", role: "toolbar", "aria-label": "View settings" });
    this.common = element("div", { class: "tools" });
    this.picture = element("canvas", { class: "picture", tabindex: "0", role: "application" });
    this.over = element("canvas", { class: "over", "aria-hidden": "true" });
    this.tipBox = element("div", { class: "tip", hidden: true });
    this.tipBox.popover = "manual"; // a short picture has no room: over the page
    this.pane = element("div", { class: "pane" }, [this.picture, this.over, this.tipBox]);
    this.tall = element("div", { class: "tall" }, [this.pane]);
    this.scroll = element("div", { class: "scroll" }, [this.tall]);
    this.note = element("div", { class: "note" });
    this.legends = element("div", { class: "legends" });
    this.live = element("div", { class: "unseen", "aria-live": "polite" });
    this.tablePanel = element("div", { class: "table", hidden: true, tabindex: "0" });
    this.frame = element("div", { class: "frame" }, [
      element("div", { class: "bar" }, [this.tools, this.common]), this.scroll,
      element("div", { class: "foot" }, [this.legends, this.note]), this.live]);
    root.replaceChildren(this.frame, this.tablePanel);
    this.theme = readTheme(root);
    this.width = this.height = this.most = 0;
    this.fills = false; // down to the window's lower edge, if that gives more than ``most``
    this.dpr = 1;
    this.title = ""; // of saved pictures
    this.source = ""; // under it: the model and the start of the text
    /** @type {number | null} */
    this._drawnTop = null; // where a saved picture begins
    /** @type {Mode | null} */
    this.mode = null;
    /** @type {HTMLButtonElement | null} */
    this.tableButton = null;
    this.painted = 0; // frames drawn; read by tests and benchmarks, as are the next two
    this.drawMs = 0;
    this.overMs = 0;
    this._frame = 0;
    this._late = 0;
    this._dirty = false;
    this._listen();
    this._observer = new ResizeObserver(() => this.resize());
    this._observer.observe(this.scroll);
    this._onWindow = () => this.fills && this.resize();
    window.addEventListener("resize", this._onWindow);
  }

  /** @param {Mode} mode */
  show(mode) {
    this.mode = mode;
    this.tools.replaceChildren(...mode.tools);
    this.legends.replaceChildren(...mode.legends);
    this.tableButton = plainButton("Table", "Show the numbers on screen as a table", () => this.toggleTable());
    this.tableButton.setAttribute("aria-expanded", "false");
    this.common.replaceChildren(this.tableButton, saveMenu(this));
    this.tablePanel.hidden = true;
    this.scroll.scrollTop = 0;
    this.hideTip();
    this.status("");
  }

  /**
   * @param {number} height of the toolbar and the picture together, at most
   * @param {boolean} fills rather down to the window's lower edge, if that gives more
   */
  setHeight(height, fills = false) {
    this.most = height;
    this.fills = fills;
    const page = pageOf(this.root);
    if (fills && page?.firstElementChild) this._observer.observe(page.firstElementChild); // what is above may grow
  }

  /** The height that the page leaves to this canvas. */
  get available() {
    if (!this.fills) return this.most;
    return Math.max(this.most, Math.floor(window.innerHeight - this.above - BELOW));
  }

  get page() {
    return pageOf(this.root);
  }

  /** Px of the page that are above this canvas. */
  get above() {
    return this.frame.getBoundingClientRect().top + (this.page?.scrollTop ?? window.scrollY);
  }

  /** As high as the page allows, or as the mode needs if that is less. */
  _fitFrame() {
    this.frame.style.height = "auto";
    this.frame.style.maxHeight = `${this.available}px`;
    const height = `${Math.ceil(this.mode?.naturalHeight() ?? 0)}px`;
    this.scroll.style.flex = `0 1 ${height}`;
    this.scroll.style.height = height; // in a frame that is a grid
  }

  /** Read the page's colors and sizes again. */
  refresh() {
    this.theme = readTheme(this.root);
    this.mode?.themed();
    this.resize();
  }

  resize() {
    const width = this.scroll.clientWidth;
    if (!width || !this.mode) return;
    this.width = width;
    this._fitFrame();
    const height = this.scroll.clientHeight;
    if (!height) return;
    this.height = height;
    this.dpr = window.devicePixelRatio || 1;
    this.pane.style.height = `${height}px`;
    for (const canvas of [this.picture, this.over]) {
      const [w, h] = [Math.round(width * this.dpr), Math.round(height * this.dpr)];
      if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
    }
    this.mode.layout();
    this.fitContent();
    this.picture.setAttribute("aria-label", this.mode.label);
    this.repaint();
  }

  /** Make the content as tall as the mode says. */
  fitContent() {
    const content = this.mode?.contentHeight() ?? 0;
    this.tall.style.height = `${Math.max(content, this.height)}px`;
    if (this.scroll.clientWidth !== this.width) requestAnimationFrame(() => this.resize());
  }

  get top() {
    return this._drawnTop ?? this.scroll.scrollTop;
  }

  repaint() {
    this._dirty = true;
    this.repaintOver();
  }

  repaintOver() {
    if (!this._frame) this._frame = requestAnimationFrame(() => this._paint());
  }

  _paint() {
    this._frame = 0;
    if (!this.mode || !this.width) return;
    if (this.dpr !== (window.devicePixelRatio || 1)) this.resize();
    const start = performance.now();
    if (this._dirty) {
      this._dirty = false;
      this._on(this.picture, (ctx) => {
        ctx.fillStyle = this.theme.background;
        ctx.fillRect(0, 0, this.width, this.height);
        this.mode?.draw(ctx);
      });
      this.painted++;
      this.drawMs = performance.now() - start;
    }
    const then = performance.now();
    this._on(this.over, (ctx) => this.mode?.drawOver(ctx));
    this.overMs = performance.now() - then;
  }

  /** @param {HTMLCanvasElement} canvas @param {(ctx: CanvasRenderingContext2D) => void} draw */
  _on(canvas, draw) {
    const ctx = context2d(canvas);
    ctx.setTransform(this.dpr, 0, 0, this.dpr, 0, 0);
    ctx.clearRect(0, 0, this.width, this.height);
    ctx.textBaseline = "middle";
    ctx.save();
    draw(ctx);
    ctx.restore();
  }

  /** @param {number} size @param {string} [weight] */
  font(size, weight = "400") {
    return `${weight} ${size}px ${this.theme.font}`;
  }

  /**
   * The tooltip: rows of a name, a text, and perhaps a token after it.
   * @param {number} x @param {number} y
   * @param {TipRow[]} rows @param {HTMLElement | null} [picture] below them
   */
  tip(x, y, rows, picture = null) {
    this.tipBox.replaceChildren(...rows.map(([name, text, token]) =>
      element("div", {}, [element("span", {}, [name]), element("b", {}, withToken(text, token))])));
    if (picture) this.tipBox.append(picture);
    if (this.tipBox.hidden) {
      this.tipBox.hidden = false;
      this.tipBox.showPopover?.();
    }
    const { offsetWidth: w, offsetHeight: h } = this.tipBox;
    const box = this.picture.getBoundingClientRect();
    const [right, below] = [x + box.left + 16, y + box.top + 16];
    const left = right + w > window.innerWidth ? Math.max(4, right - w - 28) : right;
    const top = below + h > window.innerHeight ? Math.max(4, below - h - 28) : below;
    this.tipBox.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  hideTip() {
    if (this.tipBox.hidden) return;
    this.tipBox.hidePopover?.();
    this.tipBox.hidden = true;
  }

  /** For screen readers, at once. @param {string} text */
  say(text) {
    this.live.textContent = text;
  }

  /** One line under the picture. @param {string} text */
  status(text) {
    clearTimeout(this._late);
    this.note.textContent = this.note.title = text;
  }

  /** The line while the server is to answer; it ends even if no answer comes. @param {string} text */
  loading(text) {
    this.status(text);
    this._late = setTimeout(() => this.status("The server has not answered. Try again."), ANSWER_MS);
  }

  toggleTable(open = this.tablePanel.hidden) {
    this.tablePanel.hidden = !open;
    this.tableButton?.setAttribute("aria-expanded", String(open));
    if (open) this.fillTable();
  }

  fillTable() {
    if (this.tablePanel.hidden || !this.mode) return;
    const { caption, columns, rows } = this.mode.table();
    const cell = (/** @type {"td" | "th"} */ tag, /** @type {string} */ scope) => (/** @type {import("./mode.js").TableCell} */ content) =>
      element(tag, scope ? { scope } : {}, typeof content === "string" ? [content] : withToken(...content));
    const body = rows.map(([first, ...rest]) =>
      element("tr", {}, [cell("th", "row")(first), ...rest.map(cell("td", ""))]));
    this.tablePanel.replaceChildren(element("table", {}, [
      element("caption", {}, [caption]),
      element("thead", {}, [element("tr", {}, columns.map(cell("th", "col")))]),
      element("tbody", {}, body)]));
  }

  /**
   * Run something while the mode draws for a picture of its own: in other colors, all of the view.
   * @template T
   * @param {{theme: import("./theme.js").Theme, top: number, height: number, dpr: number}} look
   * @param {() => T} draw @returns {T}
   */
  drawnAs({ top, ...look }, draw) {
    const { theme, height, dpr, mode } = this;
    const hovered = mode?.hovered ?? null;
    Object.assign(this, look);
    this._drawnTop = top;
    if (mode) mode.hovered = null;
    mode?.themed();
    try {
      return draw();
    } finally {
      Object.assign(this, { theme, height, dpr });
      this._drawnTop = null;
      if (mode) mode.hovered = hovered;
      mode?.themed();
    }
  }

  /** @param {MouseEvent} event @returns {[number, number]} on the canvas */
  _at(event) {
    const box = this.picture.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  _listen() {
    const target = this.picture;
    /** @type {{x: number, y: number, moved: boolean, id: number} | null} */
    let pressed = null;
    target.addEventListener("pointerdown", (event) => {
      const [x, y] = this._at(event);
      pressed = { x, y, moved: false, id: event.pointerId };
      target.setPointerCapture(event.pointerId);
      this.mode?.press(x, y, event);
    });
    target.addEventListener("pointermove", (event) => {
      const [x, y] = this._at(event);
      if (pressed && event.buttons) {
        pressed.moved ||= Math.hypot(x - pressed.x, y - pressed.y) > CLICK_TRAVEL;
        if (this.mode?.drag(x, y, event)) return;
      }
      this.mode?.hover(x, y);
    });
    target.addEventListener("pointerup", (event) => {
      const [x, y] = this._at(event);
      const clicked = pressed && !pressed.moved && pressed.id === event.pointerId;
      pressed = null;
      this.mode?.release(event);
      if (clicked && event.button === 0) this.mode?.click(x, y, event);
    });
    target.addEventListener("pointercancel", (event) => {
      pressed = null;
      this.mode?.release(event);
    });
    target.addEventListener("pointerleave", () => this.mode?.leave());
    target.addEventListener("dblclick", (event) => {
      const [x, y] = this._at(event);
      this.mode?.doubleClick(x, y);
    });
    target.addEventListener("wheel", (event) => {
      const [x, y] = this._at(event);
      if (this.mode?.wheel(x, y, event)) event.preventDefault();
    }, { passive: false });
    target.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey || (event.ctrlKey && event.key !== "Home")) return;
      if (this.mode?.key(event)) {
        event.preventDefault();
        event.stopPropagation(); // Streamlit has keys of its own
      }
    });
    this.scroll.addEventListener("scroll", () => {
      this.mode?.leave();
      this.repaint();
    });
  }

  destroy() {
    this._observer.disconnect();
    window.removeEventListener("resize", this._onWindow);
    cancelAnimationFrame(this._frame);
    clearTimeout(this._late);
  }
}
