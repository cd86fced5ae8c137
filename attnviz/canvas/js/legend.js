// A legend in the toolbar: the ramp, with a text at each end.

import { context2d, element } from "./dom.js";
import { cssColor } from "./theme.js";

export class Legend {
  constructor() {
    this.low = element("span");
    this.bar = element("canvas", { width: 96, height: 10 });
    this.high = element("span");
    /** @type {Uint32Array | null} */
    this.ramp = null;
    this.element = element("span", { class: "legend" }, [this.low, this.bar, this.high]);
  }

  /** @param {Uint32Array} ramp 256 packed colors @param {string} low @param {string} high */
  show(ramp, low, high) {
    this.ramp = ramp;
    const ctx = context2d(this.bar);
    for (let i = 0; i < this.bar.width; i++) {
      ctx.fillStyle = cssColor(ramp[Math.round((i / (this.bar.width - 1)) * 255)]);
      ctx.fillRect(i, 0, 1, this.bar.height);
    }
    [this.low.textContent, this.high.textContent] = [low, high];
  }

  /** The same in a saved picture. @param {string} title @returns {import("./figure.js").FigureLegend[]} */
  inFigure(title) {
    const { ramp, low, high } = this;
    return ramp && !this.element.hidden ? [{ kind: "ramp", title, ramp, low: low.textContent ?? "", high: high.textContent ?? "" }] : [];
  }
}
