// A legend of a color scale, on screen and in saved pictures: the ramp, a text at each end, an arrow where
// cells lie beyond an end, and what masked cells look like.

import { context2d, element } from "./dom.js";
import { fillMasked } from "./hatch.js";
import { cssColor } from "./theme.js";

/**
 * @typedef {object} Ends
 * @property {string} low @property {string} high
 * @property {boolean} lowCap some cells lie below the low end and have its color @property {boolean} highCap
 * @property {string} middle the numbers that share the color of zero on a two-sided scale; empty if none do
 * @typedef {Ends & {ramp: Uint32Array, masked: boolean}} RampTexts masked: some cells are
 */

export const CAP = 8; // px of an arrow
const BAR_WIDE = 110; // px
const BAR_TALL = 10;
const SWATCH = 14; // px of a hatched box
const CLIPPED_HELP = "Cells beyond an end of the scale have that end's color. An arrow marks such an end, with how many they are.";

export class Legend {
  constructor() {
    this.low = element("span");
    this.bar = element("canvas", { class: "ramp" });
    this.high = element("span");
    this.middle = element("span");
    this.swatch = element("canvas", { class: "ramp" });
    this.masked = element("span", { class: "legend" }, [this.swatch, "masked"]);
    /** @type {RampTexts | null} */
    this.shown = null;
    this.element = element("span", { class: "legend" }, [this.low, this.bar, this.high, this.middle, this.masked]);
  }

  /** @param {import("./theme.js").Theme} theme @param {RampTexts} texts */
  show(theme, texts) {
    this.shown = texts;
    drawSharp(this.bar, BAR_WIDE, BAR_TALL + 2, (ctx) => drawRamp(ctx, theme, texts, 1, 1, BAR_WIDE - 2, BAR_TALL));
    drawSharp(this.swatch, SWATCH, BAR_TALL + 2, (ctx) => drawSwatch(ctx, theme, 1, 1, SWATCH - 2, BAR_TALL));
    [this.low.textContent, this.high.textContent, this.middle.textContent] = [texts.low, texts.high, texts.middle];
    this.middle.hidden = !texts.middle;
    this.masked.hidden = !texts.masked;
    this.element.title = texts.lowCap || texts.highCap || texts.middle ? CLIPPED_HELP : "";
  }

  /** The same in a saved picture. @param {string} title @returns {import("./figure.js").FigureLegend[]} */
  inFigure(title) {
    return this.shown && !this.element.hidden ? [{ kind: "ramp", title, ...this.shown }] : [];
  }
}

/** @param {HTMLCanvasElement} canvas @param {number} width px @param {number} height @param {(ctx: CanvasRenderingContext2D) => void} draw */
function drawSharp(canvas, width, height, draw) {
  const dpr = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * dpr), Math.round(height * dpr)];
  [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
  const ctx = context2d(canvas);
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  draw(ctx);
}

/**
 * A ramp; an arrow in an end's color where cells lie beyond it.
 * @param {CanvasRenderingContext2D} ctx @param {import("./theme.js").Theme} theme @param {RampTexts} texts
 * @param {number} x @param {number} y @param {number} w @param {number} h
 */
export function drawRamp(ctx, theme, { ramp, lowCap, highCap, middle }, x, y, w, h) {
  const left = x + (lowCap ? CAP + 2 : 0);
  const right = x + w - (highCap ? CAP + 2 : 0);
  const steps = Math.round(right - left);
  for (let i = 0; i < steps; i++) {
    ctx.fillStyle = cssColor(ramp[Math.round((i / (steps - 1)) * 255)]);
    ctx.fillRect(left + i, y, i < steps - 1 ? 1.5 : 1, h); // wider than a step: no seams
  }
  ctx.strokeStyle = theme.border;
  ctx.lineWidth = 1;
  ctx.strokeRect(left - 0.5, y - 0.5, right - left + 1, h + 1);
  ctx.strokeStyle = theme.text;
  if (lowCap) drawCap(ctx, cssColor(ramp[0]), left - 2, x, y, h);
  if (highCap) drawCap(ctx, cssColor(ramp[255]), right + 2, x + w, y, h);
  if (!middle) return;
  ctx.fillStyle = theme.text; // a notch over zero
  ctx.beginPath();
  ctx.moveTo((left + right) / 2 - 4, y);
  ctx.lineTo((left + right) / 2 + 4, y);
  ctx.lineTo((left + right) / 2, y + 5);
  ctx.fill();
}

/** @param {CanvasRenderingContext2D} ctx @param {string} color @param {number} base @param {number} tip where it points @param {number} y @param {number} h */
function drawCap(ctx, color, base, tip, y, h) {
  ctx.fillStyle = color;
  ctx.beginPath();
  ctx.moveTo(base, y);
  ctx.lineTo(tip, y + h / 2);
  ctx.lineTo(base, y + h);
  ctx.lineTo(base, y);
  ctx.fill();
  ctx.stroke();
}

/** What masked cells look like. @param {CanvasRenderingContext2D} ctx @param {import("./theme.js").Theme} theme @param {number} x @param {number} y @param {number} w @param {number} h */
export function drawSwatch(ctx, theme, x, y, w, h) {
  fillMasked(ctx, theme, x, y, w, h);
  ctx.strokeStyle = theme.border;
  ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
}
