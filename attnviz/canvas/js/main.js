// The component: what Streamlit calls when there is new data or another theme.

import { GridMode } from "./grid.js";
import { LinesMode } from "./lines.js";
import { MapMode } from "./map.js";
import { NeuronMode } from "./neuron.js";
import { readPayload } from "./payload.js";
import { Stage } from "./stage.js";
import { StripMode } from "./strip.js";

const MODES = { grid: GridMode, map: MapMode, lines: LinesMode, neuron: NeuronMode, strip: StripMode };

/** What stands in each root, kept from one call to the next. @type {WeakMap<Element, CanvasInstance>} */
const instances = new WeakMap();

class CanvasInstance {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.stage = new Stage(root);
    this.data = null;
    this.modeName = "";
    /** @type {any} */
    this.mode = null;
    this.setState = (_name, _value) => {};
    this.turn = Date.now();
  }

  /**
   * Tell the page. It comes with a number of its own: choosing the same again is news too, as the
   * page may have moved on by other means.
   * @param {string} name @param {any} value
   */
  send(name, value) {
    this.setState(name, { value, turn: ++this.turn });
  }

  /** @param {any} component what Streamlit gives */
  receive(component) {
    this.setState = component.setStateValue;
    const { data } = component;
    if (data === this.data || !data) { // another theme
      this.stage.refresh();
      return;
    }
    this.data = data;
    const payload = readPayload(data);
    const { header } = payload;
    this.stage.setHeight(header.height ?? 640);
    this.stage.title = header.title ?? "All heads";
    if (header.mode !== this.modeName) {
      this.mode?.destroy();
      this.modeName = header.mode;
      this.stage.root.dataset.mode = header.mode;
      this.mode = new MODES[header.mode](this.stage, (name, value) => this.send(name, value));
      this.stage.show(this.mode);
    }
    this.mode.receive(payload);
    this.stage.refresh();
    this.stage.fillTable();
  }

  destroy() {
    this.mode?.destroy();
    this.stage.destroy();
  }
}

/** @typedef {{data: any, parentElement: any, setStateValue: (name: string, value: any) => void}} Component */

/** @param {Component} component @returns {() => void} cleanup */
export default function (component) {
  const root = component.parentElement.querySelector(".canvas-root");
  let instance = instances.get(root);
  if (!instance) {
    instance = new CanvasInstance(root);
    instances.set(root, instance);
    root.attnviz = instance; // for tests and for a curious person's console
  }
  instance.receive(component);
  return () => {
    instance.destroy();
    instances.delete(root);
  };
}
