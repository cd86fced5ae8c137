// A training as a film: all heads, one of them large, loss and scores, at any step that was kept.

import { shortNumber } from "../codecs.js";
import { dropdown, element, segments, slider } from "../dom.js";
import { canvasIn } from "../pagelayout.js";
import { readPayload } from "../payload.js";
import { accuracyCurves, lossCurves, scoreCurves } from "./filmcurves.js";
import { addFrames } from "./frames.js";

/** @typedef {import("./frames.js").FilmHeader} FilmHeader */
/** @typedef {import("./frames.js").FilmArrays} FilmArrays */

const FRAME_MS = 220; // of a frame at speed 1
const CALM_MS = 1000; // where the reader's system asks for less motion
const SETTLED_MS = 350; // without a move, before the step is reported to the page
const LOSS_SHARE = 0.42; // of the height; the rest is for the scores

export class Film {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.playButton = element("button", { type: "button", class: "play", click: () => this.toggle() });
    this.speed = 1;
    const speed = dropdown("Speed", [["0.5", "0.5×"], ["1", "1×"], ["2", "2×"], ["4", "4×"]], "1",
      (value) => { this.speed = Number(value); });
    this.slider = slider("Step", { min: 0, max: 0, step: 1, value: 0 }, () => this._stepText(), (i) => { this.pause(); this.show(i, true); });
    const [training, scores, grid, map] = [0, 1, 2, 3].map(() => element("div", { class: "canvas-root" }));
    /** @type {"loss" | "accuracy"} */
    this.curve = "loss";
    this.choice = segments("Curve", [["loss", "Loss"], ["accuracy", "Held-out accuracy"]], this.curve,
      (curve) => { this.curve = curve; this._drawCurves(); this.show(this.frame); });
    this.headName = element("b");
    root.replaceChildren(element("div", { class: "film", role: "group", "aria-label": "The training, step by step" }, [
      element("div", { class: "film-bar" }, [this.playButton, speed, this.slider.group]),
      element("div", { class: "film-panes" }, [
        element("section", { class: "film-curves", "aria-label": "Loss and scores" }, [training, scores]),
        element("section", { class: "film-heads", "aria-label": "All heads" }, [grid]),
        element("section", { class: "film-map", "aria-label": "Selected head" }, [this.headName, map]),
      ])]));
    root.addEventListener("keydown", (event) => this._key(event));
    this.root = root;
    this.training = canvasIn(training);
    this.scores = canvasIn(scores);
    this.grid = canvasIn(grid);
    this.map = canvasIn(map);
    this.training.setState = this.scores.setState = (name, said) => { if (name === "step") this.goTo(valueOf(said)); };
    this.grid.setState = (name, said) => { if (name === "selected") this._tell("selected", valueOf(said)); };
    /** @type {Uint8Array | null} */
    this.data = null;
    /** @type {FilmHeader | null} */
    this.header = null;
    /** @type {FilmArrays | null} */
    this.arrays = null;
    /** @type {import("./frames.js").MapFrame[]} */
    this.maps = [];
    /** @type {Uint8Array[]} */
    this.thumbs = [];
    this.frame = 0;
    /** @type {number | null | undefined} */
    this.known = undefined; // the step that the page knows of; null: the latest
    this.timer = 0; // of the next frame; 0 while paused
    this.settling = 0;
    this.turn = Date.now();
    /** @type {import("../main.js").Component["setStateValue"]} */
    this.setState = () => {};
    this.shown = 0; // frames drawn; read by tests
    this._showPlaying();
  }

  get playing() {
    return this.timer !== 0;
  }

  /** @param {import("../main.js").Component} component */
  receive({ data, setStateValue }) {
    this.setState = setStateValue;
    if (data === this.data || !data) { // another theme
      for (const canvas of this._canvases()) canvas.stage.refresh();
      return;
    }
    this.data = data;
    const { header, arrays } = /** @type {{header: FilmHeader, arrays: FilmArrays}} */ (/** @type {unknown} */ (readPayload(data)));
    const kept = addFrames(header, arrays);
    if (!kept) {
      this._tell("missing", header.id);
      return;
    }
    const another = this.header?.id !== header.id;
    const followed = another || this.frame >= (this.header?.steps.length ?? 1) - 1;
    [this.header, this.arrays, this.maps, this.thumbs] = [header, arrays, kept.maps, kept.thumbs];
    if (another) this.pause();
    const last = header.steps.length - 1;
    this.slider.input.max = String(last);
    this.playButton.disabled = last < 1;
    const wanted = another || header.at !== this.known ? header.at : undefined; // undefined: the page has no new wish
    this.known = header.at;
    const at = wanted === undefined ? (followed && !this.playing ? last : Math.min(this.frame, last)) : this._nearest(wanted);
    this._drawCurves();
    this.show(at);
  }

  _canvases() {
    return [this.training, this.scores, this.grid, this.map];
  }

  // ---- moving through the steps ---------------------------------------------------------------

  /** The frame of a step; the last without one. @param {number | null} step */
  _nearest(step) {
    const steps = this.header?.steps ?? [];
    if (step === null) return steps.length - 1;
    let best = 0;
    steps.forEach((one, i) => { if (Math.abs(one - step) < Math.abs(steps[best] - step)) best = i; });
    return best;
  }

  /** @param {number} step */
  goTo(step) {
    this.pause();
    this.show(this._nearest(step), true);
  }

  toggle() {
    if (this.playing) this.pause(true);
    else this.play();
  }

  play() {
    const last = (this.header?.steps.length ?? 1) - 1;
    if (last < 1) return;
    if (this.frame >= last) this.show(0);
    this._schedule();
    this._showPlaying();
  }

  /** @param {boolean} [tell] the page about the step */
  pause(tell = false) {
    clearTimeout(this.timer);
    this.timer = 0;
    this._showPlaying();
    if (tell) this._settle();
  }

  _schedule() {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.timer = window.setTimeout(() => {
      this.show(this.frame + 1);
      if (this.frame >= (this.header?.steps.length ?? 1) - 1) this.pause(true);
      else this._schedule();
    }, calm ? CALM_MS : FRAME_MS / this.speed);
  }

  _showPlaying() {
    this.playButton.textContent = this.playing ? "❚❚ Pause" : "▶ Play";
    this.playButton.setAttribute("aria-label", this.playing ? "Pause" : "Play the training");
  }

  /** @param {KeyboardEvent} event */
  _key(event) {
    if (event.key !== " " || event.composedPath()[0] instanceof HTMLButtonElement || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!(event.composedPath()[0] instanceof HTMLInputElement)) return; // canvases have a use for it
    this.toggle();
    event.preventDefault();
  }

  // ---- what is shown --------------------------------------------------------------------------

  /** @param {number} i of the frame @param {boolean} [tell] the page, once it has settled */
  show(i, tell = false) {
    const { header } = this;
    if (!header || !header.steps.length) return;
    this.frame = Math.max(0, Math.min(i, header.steps.length - 1));
    this.slider.input.value = String(this.frame);
    this.slider.shown.textContent = this._stepText();
    this.slider.input.setAttribute("aria-valuetext", this._stepText());
    for (const canvas of [this.training, this.scores]) {
      /** @type {import("../curves.js").CurvesMode | null} */ (canvas.mode)?.mark(header.steps[this.frame]);
    }
    this._drawGrid(header);
    this._drawMap(header);
    this.shown++;
    if (tell) this._settle();
  }

  _stepText() {
    const { header } = this;
    return header ? `${header.steps[this.frame].toLocaleString("en")} of ${header.last.toLocaleString("en")}` : "";
  }

  _drawCurves() {
    const { header, arrays } = this;
    if (!header || !arrays) return;
    const room = { height: Math.round(header.height * LOSS_SHARE), source: header.source };
    const both = header.accuracies.length > 0;
    if (!both) this.curve = "loss";
    this.training.display((this.curve === "loss" ? lossCurves : accuracyCurves)(header, arrays, room));
    if (both) this.training.mode?.setTools([this.choice.group]);
    const scored = header.heads.length > 0;
    this.scores.stage.root.hidden = !scored;
    if (scored) this.scores.display(scoreCurves(header, arrays, { ...room, height: header.height - room.height }));
  }

  /** @param {FilmHeader} header */
  _drawGrid(header) {
    const values = new Float32Array(header.layers.reduce((n, { heads = 0 }) => n + heads, 0)).fill(NaN);
    let at = 0;
    for (const layer of header.layers) {
      header.heads.forEach((one, i) => {
        if (one.layer === layer.index) values[at + one.head] = this._score(header, i);
      });
      at += layer.heads ?? 0;
    }
    this.grid.display({
      header: {
        mode: "grid", id: `${header.id}/${this.frame}/${this.thumbs.length}`, layers: header.layers, selected: header.selected, height: header.height, compact: true,
        metrics: [{ key: "score", title: header.scoreTitle, help: header.scoreRule }],
        source: header.source, title: `All heads at step ${header.steps[this.frame]}`, arrays: {},
      },
      arrays: { cells: this.thumbs[this.frame], values },
    });
  }

  /** @param {FilmHeader} header @param {number} i of the head */
  _score(header, i) {
    return this.arrays?.scores[this.frame * header.heads.length + i] ?? NaN;
  }

  /** @param {FilmHeader} header */
  _drawMap(header) {
    const { codes, rowMax, colMax } = this.maps[this.frame];
    const step = header.steps[this.frame].toLocaleString("en");
    const i = header.heads.findIndex(({ layer, head }) => layer === header.selected[0] && head === header.selected[1]);
    const number = this._score(header, i);
    const text = header.unit ? `${shortNumber(number)} ${header.unit}` : number.toFixed(2);
    const score = i < 0 ? "" : ` · ${header.scoreTitle.toLowerCase()} ${text}`;
    this.headName.textContent = `${header.map.title.replace(/: weights$/, "")}${score}`;
    const [, height, width] = header.arrays.codes.shape;
    this.map.display({
      header: {
        ...header.map, id: `${header.mapId}/${step}`, space: header.mapId, title: `${header.map.title}, step ${step}`,
        offline: true, compact: true, height: header.height - 24, source: header.source,
        arrays: { base: { type: "u2", shape: [height, width], at: 0 } },
      },
      arrays: { base: codes, rowMax, colMax },
    });
  }

  // ---- what the page hears --------------------------------------------------------------------

  /** Tell the page of the step, once nothing moves. */
  _settle() {
    clearTimeout(this.settling);
    this.settling = window.setTimeout(() => {
      const { header } = this;
      if (!header || this.playing) return;
      const step = this.frame === header.steps.length - 1 ? null : header.steps[this.frame];
      if (step === this.known) return;
      this.known = step;
      this._tell("step", step);
    }, SETTLED_MS);
  }

  /** @param {string} name @param {unknown} value */
  _tell(name, value) {
    this.setState(name, { value, turn: ++this.turn });
  }

  destroy() {
    this.pause();
    clearTimeout(this.settling);
    for (const canvas of this._canvases()) canvas.destroy();
  }
}

/** @param {unknown} said */
function valueOf(said) {
  return /** @type {{value: any}} */ (said).value;
}
