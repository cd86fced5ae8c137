// A whole trace on a page of its own: strip, grid, head and explanation, computed here as one looks.

import { answerLines, answerMap, answerNeuron, answerStrip, answerVectors, placeOf } from "./answers.js";
import { explainCell, explainHead, explainPredictions, explainQuery } from "./explain.js";
import { HeadReading } from "./headreading.js";
import { PatchImage } from "./pageimage.js";
import { canvasIn, layOutPage } from "./pagelayout.js";
import { hashOf, readHash } from "./pagestate.js";
import { PageTrace } from "./pagetrace.js";
import { readPayload } from "./payload.js";
import { Tensors } from "./tensors.js";

/** @typedef {import("./pagestate.js").PageState} PageState */

/**
 * What ../page.py writes.
 * @typedef {object} PageIndex
 * @property {string} title @property {string} text @property {boolean} whole
 * @property {import("./pagetrace.js").LayerEntry[]} layers
 * @property {string[][]} names @property {number | null} grid
 * @property {import("./explain.js").Predictions | null} predictions
 * @property {string} storage
 * @property {import("./pageimage.js").ImageEntry | null} image
 * @property {{layer: number, head: number} | null} start
 */

const READINGS_KEPT = 24;
const STRIP_HEIGHT = 132; // px at most
const NARROW_STRIP = 240; // where its controls take several lines
const NARROW_WINDOW = "(max-width: 619px)";
const PICTURE_HEIGHT = 560; // px where parts are stacked
const EMBEDDED_HEIGHT = 460; // in a notebook
const STACKED = "(max-width: 1199px)";

export class TracePage {
  /**
   * @param {HTMLElement} root @param {PageIndex} index @param {(blob: number) => string} read the text of a blob
   */
  constructor(root, index, read) {
    this.index = index;
    this.tensors = new Tensors(read);
    this.trace = new PageTrace(index.layers, index.names, this.tensors);
    /** @type {Map<string, Promise<HeadReading>>} */
    this.readings = new Map();
    const first = index.layers.find((layer) => layer.source !== "refused");
    /** @type {PageState} */
    this.state = {
      layer: index.start?.layer ?? first?.index ?? 0, head: index.start?.head ?? first?.firstHead ?? 0,
      view: "Map", token: null, cell: null,
    };
    /** @type {{rows: [number, number], cols: [number, number], have: string} | null} */
    this.zoom = null;
    this.turn = 0; // of what was asked for: what comes late is not shown
    this.shownAt = 0; // when the head on screen was complete; read by tests, as is the next one
    this.unpacked = false; // all arrays are
    this.embedded = window.parent !== window; // a notebook's history is not ours
    this.parts = layOutPage(root, index, this.state.view, (view) => this.change({ view }));
    this.strip = canvasIn(this.parts.strip);
    this.grid = canvasIn(this.parts.grid);
    this.head = canvasIn(this.parts.head);
    for (const canvas of this._canvases()) {
      canvas.setState = (name, said) => this.told(name, /** @type {{value: unknown}} */ (said).value);
    }
    const { image } = index;
    this.image = image && new PatchImage(image, index.names[image.names], (at) =>
      this.change({ token: { text: image.names, index: at }, cell: null }));
    /** @type {import("./payload.js").GridPayload | null} */
    this.gridPayload = null;
  }

  /** What saved pictures are of. */
  get _source() {
    const { title, text, whole } = this.index;
    return [title, text && `“${text}${whole ? "" : "…"}”`].filter(Boolean).join(" · ");
  }

  _canvases() {
    return [this.strip, this.grid, this.head];
  }

  async start() {
    this.state = readHash(location.hash, this.state, this.trace);
    this.parts.views.press(this.state.view);
    if (!this.embedded) history.replaceState(null, "", hashOf(this.state)); // so that Back leads here
    addEventListener("hashchange", () => {
      const next = readHash(location.hash, this.state, this.trace);
      if (hashOf(next) !== hashOf(this.state)) this._go(next);
    });
    addEventListener("resize", () => this._resized());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const canvas of this._canvases()) canvas.stage.refresh();
    });
    await this.show();
    await this._showGrid();
    this._unpackRest();
  }

  /** Unpack every layer while nothing else is asked for, so that a click need not. */
  async _unpackRest() {
    for (const layer of this.trace.layers) {
      await new Promise((done) => setTimeout(done, 0));
      if (layer.source !== "refused") await this.trace.unpack(layer);
    }
    this.unpacked = true;
  }

  // ---- what a hand does ------------------------------------------------------------------------

  /** @param {string} name @param {any} value what a canvas reports */
  told(name, value) {
    const layer = this.trace.layer(this.state.layer);
    if (name === "selected") this.change({ layer: value[0], head: value[1], cell: null });
    else if (name === "token") this.change({ token: value && this._tokenAt(layer, value), cell: null });
    else if (name === "query") this.change({ token: this._queryToken(layer, value), cell: null });
    else if (name === "cell" && (this.state.view === "Map" || this.state.view === "Scores")) {
      this.change({ cell: value, token: this._queryToken(layer, value[0]) });
    } else if (name === "view") {
      this.zoom = value;
      if (value) this.show();
    }
  }

  /** A token that the strip or the lines tell of. @param {import("./pagetrace.js").LayerEntry} layer @param {{side: string, index: number}} at */
  _tokenAt(layer, { side, index }) {
    const text = layer.texts.find((one) => one.side === side) ?? layer.texts.find((one) => one.side);
    return text ? { text: text.names, index } : null;
  }

  /** @param {import("./pagetrace.js").LayerEntry} layer @param {number} query */
  _queryToken(layer, query) {
    const text = layer.texts.find((one) => one.side && one.queries !== null);
    return text ? { text: text.names, index: query + (text.queries ?? 0) } : null;
  }

  /** @param {Partial<PageState>} some */
  change(some) {
    const next = { ...this.state, ...some };
    if (some.layer !== undefined || some.head !== undefined || some.view !== undefined) this.zoom = null;
    if (!this.embedded && hashOf(next) !== location.hash) history.pushState(null, "", hashOf(next));
    return this._go(next);
  }

  /** @param {PageState} next */
  _go(next) {
    this.state = next;
    this.parts.views.press(next.view);
    return this.show();
  }

  // ---- what is shown ---------------------------------------------------------------------------

  /** A head read whole, or on its way. @param {number} layer @param {number} head */
  reading(layer, head) {
    const name = `${layer}/${head}`;
    const found = this.readings.get(name) ?? this.trace.head(layer, head).then((one) => new HeadReading(one));
    this.readings.delete(name);
    this.readings.set(name, found);
    for (const key of this.readings.keys()) {
      if (this.readings.size <= READINGS_KEPT) break;
      this.readings.delete(key);
    }
    return found;
  }

  /** @param {number} layer @param {number} head @returns {Promise<import("./answers.js").ShownHead>} */
  async _shown(layer, head) {
    const entry = this.trace.layer(layer);
    const reading = await this.reading(layer, head);
    return { layer: entry, head, reading, rowNames: this.trace.names[entry.rows], colNames: this.trace.names[entry.cols] };
  }

  async show() {
    const turn = ++this.turn;
    const { layer, head, view } = this.state;
    const entry = this.trace.layers.find((one) => one.index === layer);
    if (!entry || entry.source === "refused") {
      this._painted(turn);
      this._refuse(entry ? `${entry.title} cannot be shown: ${entry.reason}.` : "This trace has no layers.");
      return;
    }
    const shown = await this._shown(layer, head);
    const all = view === "Lines" ? await this._wholeLayer(entry) : [];
    if (turn !== this.turn) return;
    const strip = answerStrip(shown, this.trace.names, this.state.token, entry.helps);
    strip.header.height = matchMedia(NARROW_WINDOW).matches ? NARROW_STRIP : STRIP_HEIGHT;
    strip.header.source = this._source;
    this.strip.display(strip); // first: the others have the room it leaves
    this.parts.title.textContent = `${entry.title}, head ${head}`;
    try {
      const answer = this._answer(shown, all);
      answer.header.height = this._height();
      answer.header.source = this._source;
      this.head.display(answer);
      this._refuse("");
    } catch (error) {
      this._refuse(error instanceof Error ? error.message : String(error));
    }
    this._explain(shown);
    this._mark();
    this._painted(turn);
  }

  /** @param {number} turn */
  _painted(turn) {
    requestAnimationFrame(() => setTimeout(() => { if (turn === this.turn) this.shownAt = performance.now(); }));
  }

  /** @param {import("./pagetrace.js").LayerEntry} layer */
  _wholeLayer(layer) {
    return Promise.all(Array.from({ length: layer.heads }, (_, h) => this._shown(layer.index, layer.firstHead + h)));
  }

  /** @param {import("./answers.js").ShownHead} shown @param {import("./answers.js").ShownHead[]} all heads of its layer */
  _answer(shown, all) {
    const { view, cell } = this.state;
    const at = placeOf(shown.layer, this.state.token);
    const place = /** @type {import("./answers.js").Place} */ (
      at && (at.query !== null ? ["row", at.query] : at.key !== null ? ["col", at.key] : null));
    if (view === "Map") return answerMap(shown, "weights", { view: this.zoom, cell, focus: place });
    if (view === "Scores") return answerMap(shown, "scores", { view: this.zoom, cell, focus: place });
    if (view === "Lines") return answerLines(all, place);
    if (view === "Neuron") return answerNeuron(shown, at?.query ?? shown.layer.nQ - 1);
    return answerVectors(shown, view, at);
  }

  /** @param {string} why the view can't be shown; empty if it can */
  _refuse(why) {
    this.parts.problem.textContent = why;
    this.parts.problem.hidden = !why;
    this.head.stage.root.hidden = Boolean(why);
  }

  /** @param {import("./answers.js").ShownHead} shown */
  _explain(shown) {
    const { token, cell } = this.state;
    const at = placeOf(shown.layer, token);
    const { image, predictions } = this.index;
    const onImage = this.image && image && shown.layer.cols === image.names && shown.layer.rows === image.names;
    const query = cell ? cell[0] : at?.query ?? (onImage ? 0 : shown.layer.nQ - 1); // a class token comes first
    const { weights } = shown.reading.row(query);
    const strongest = weights.reduce((best, w, j) => (w > weights[best] ? j : best), 0);
    const parts = [explainHead(shown)];
    if (this.image && onImage) {
      this.image.show(weights, query);
      parts.push(this.image.root);
    } else parts.push(explainQuery(shown, query, (key) => this.change({ cell: [query, key] })));
    parts.push(explainCell(shown, query, cell ? cell[1] : strongest));
    if (predictions) {
      const position = token?.text === predictions.text ? token.index : null;
      parts.push(explainPredictions(predictions, position, this.trace.names[predictions.text]));
    }
    this.parts.explanation.replaceChildren(...parts);
  }

  async _showGrid() {
    if (this.index.grid === null) return;
    const bytes = await this.tensors.bytes(this.index.grid);
    const payload = /** @type {import("./payload.js").GridPayload} */ (readPayload(new Uint8Array(bytes)));
    payload.header.height = this._height(this.parts.gridPart);
    payload.header.source = this._source;
    payload.header.selected = [this.state.layer, this.state.head];
    this.gridPayload = payload;
    this.grid.display(payload);
  }

  /** The chosen head in the grid. */
  _mark() {
    const { gridPayload } = this;
    if (!gridPayload) return;
    const { selected } = gridPayload.header;
    if (selected?.[0] === this.state.layer && selected[1] === this.state.head) return;
    gridPayload.header = { ...gridPayload.header, selected: [this.state.layer, this.state.head] };
    this.grid.display(gridPayload);
  }

  /** Px for a part's canvas: what the window leaves, or a fixed height where parts are stacked. */
  _height(/** @type {HTMLElement} */ part = this.parts.headPart) {
    if (matchMedia(STACKED).matches) return this.embedded ? EMBEDDED_HEIGHT : PICTURE_HEIGHT;
    const style = getComputedStyle(part);
    const inner = part.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const heading = /** @type {HTMLElement | null} */ (part.querySelector(".heading"));
    return Math.max(240, inner - (heading ? heading.offsetHeight + 6 : 0));
  }

  _resized() {
    this.head.stage.setHeight(this._height());
    this.grid.stage.setHeight(this._height(this.parts.gridPart));
    for (const canvas of this._canvases()) canvas.stage.refresh();
  }
}

/** @param {Document} page that ../page.py wrote */
export function startPage(page) {
  const root = /** @type {HTMLElement} */ (page.getElementById("trace"));
  const index = JSON.parse(page.getElementById("index")?.textContent ?? "{}");
  const view = new TracePage(root, index, (blob) => page.getElementById(`b${blob}`)?.textContent ?? "");
  Object.assign(root, { attnviz: view }); // for tests and the browser's console
  view.start();
}
