// Mounting a canvas: what Streamlit calls when there is new data or another theme.

import { CurvesMode } from "./curves.js";
import { FlowMode } from "./flow.js";
import { GridMode } from "./grid.js";
import { ImageMode } from "./image.js";
import { LinesMode } from "./lines.js";
import { MapMode } from "./map.js";
import { NeuronMode } from "./neuron.js";
import { readPayload } from "./payload.js";
import { Stage } from "./stage.js";
import { StripMode } from "./strip.js";

/**
 * What Streamlit gives.
 * @typedef {object} Component
 * @property {Uint8Array} data
 * @property {ParentNode} parentElement
 * @property {(name: string, value: unknown) => void} setStateValue
 */

const MODES = {
  curves: CurvesMode, flow: FlowMode, grid: GridMode, image: ImageMode, map: MapMode, lines: LinesMode, neuron: NeuronMode,
  strip: StripMode,
};
const HEIGHT = 640; // px

/** What is mounted in each root, kept from one call to the next. @type {WeakMap<Element, CanvasInstance>} */
const instances = new WeakMap();

export class CanvasInstance {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.stage = new Stage(root);
    /** @type {Uint8Array | null} */
    this.data = null;
    this.modeName = "";
    /** @type {InstanceType<(typeof MODES)[keyof typeof MODES]> | null} */
    this.mode = null;
    /** @type {Component["setStateValue"]} */
    this.setState = () => {};
    this.turn = Date.now();
  }

  /**
   * Report a state to the page. Its number makes choosing the same value again a change, as the page
   * may have moved on by other means.
   * @param {string} name @param {unknown} value
   */
  send(name, value) {
    this.setState(name, { value, turn: ++this.turn });
  }

  /** @param {Component} component */
  receive({ data, setStateValue }) {
    this.setState = setStateValue;
    if (data === this.data || !data) { // another theme
      this.stage.refresh();
      return;
    }
    this.data = data;
    this.display(readPayload(data));
  }

  /** @param {import("./payload.js").Payload} payload */
  display(payload) {
    const { header } = payload;
    this.stage.setHeight(header.height ?? HEIGHT, header.fills);
    this.stage.root.classList.toggle("compact", Boolean(header.compact));
    this.stage.title = header.title ?? "All heads";
    this.stage.source = header.source ?? "";
    let mode = this.mode;
    if (!mode || header.mode !== this.modeName) {
      mode?.destroy();
      this.modeName = this.stage.root.dataset.mode = header.mode;
      mode = this.mode = new MODES[header.mode](this.stage, (name, value) => this.send(name, value));
      this.stage.show(mode);
    }
    mode.receive(/** @type {any} */ (payload)); // of this mode
    this.stage.refresh();
    this.stage.fillTable();
  }

  destroy() {
    this.mode?.destroy();
    this.stage.destroy();
  }
}

/** @param {Component} component @returns {() => void} cleanup */
export default function (component) {
  const root = /** @type {HTMLElement & {attnviz?: CanvasInstance}} */ (component.parentElement.querySelector(".canvas-root"));
  const instance = instances.get(root) ?? new CanvasInstance(root);
  instances.set(root, instance);
  root.attnviz = instance; // for tests and the browser's console
  instance.receive(component);
  return () => {
    instance.destroy();
    instances.delete(root);
  };
}
