// A view as a picture for a slide or a paper: title, model and text, legend, the view itself.

import { context2d } from "./dom.js";
import { drawRamp, drawSwatch } from "./legend.js";
import { SvgContext } from "./svgcontext.js";
import { fitted } from "./text.js";
import { plainTheme } from "./theme.js";

/**
 * @typedef {import("./stage.js").Stage} Stage
 * @typedef {import("./legend.js").RampTexts & {kind: "ramp", title: string}} RampLegend
 * @typedef {{kind: "colors", title: string, items: {color: string, text: string}[]}} ColorLegend
 * @typedef {RampLegend | ColorLegend} FigureLegend
 * @typedef {{title: string, legends: FigureLegend[], note: string}} FigureTexts what a mode says of its picture
 */

const EDGE = 16; // px around all
const TITLE_LINE = 24;
const SOURCE_LINE = 20;
const LEGEND_LINE = 22;
const FIGURE_NOTE = 18;
const COLOR_BAR = 120; // px of a color bar
const MASKED_BOX = 14; // px of what masked cells look like
const LEGENDS_APART = 24; // px between legends
const LEAST_WIDE = 420; // px, for the title
const MOST_TALL = 5000; // px: of a longer view, what is on screen

/**
 * The picture on a canvas.
 * @param {Stage} stage @param {{scale: number, dark?: boolean}} how scale: pixels a CSS pixel
 */
export function figureCanvas(stage, { scale, dark = false }) {
  const canvas = document.createElement("canvas");
  drawFigure(stage, dark, scale, (width, height) => {
    [canvas.width, canvas.height] = [width * scale, height * scale];
    const ctx = context2d(canvas);
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    return ctx;
  });
  return canvas;
}

/** The picture as an SVG file. @param {Stage} stage @param {{dark?: boolean}} [how] */
export function figureSvg(stage, { dark = false } = {}) {
  const browser = browserSurface();
  let recorder = new SvgContext(0, 0, browser);
  const title = drawFigure(stage, dark, 2, (width, height) => {
    recorder = new SvgContext(width, height, browser);
    return /** @type {CanvasRenderingContext2D} */ (/** @type {unknown} */ (recorder));
  });
  return recorder.text(title);
}

/**
 * @param {Stage} stage @param {boolean} dark @param {number} dpr
 * @param {(width: number, height: number) => CanvasRenderingContext2D} begin
 * @returns {string} its title
 */
function drawFigure(stage, dark, dpr, begin) {
  const { mode } = stage;
  if (!mode) return "";
  const [, content] = mode.figureSize();
  const whole = content <= MOST_TALL;
  const look = {
    theme: plainTheme(dark, stage.theme.font), dpr,
    top: whole ? 0 : stage.top, height: whole ? Math.max(content, 1) : stage.height,
  };
  return stage.drawnAs(look, () => {
    const [wide] = mode.figureSize();
    const { title, legends, note } = mode.figure();
    const width = Math.ceil(Math.max(wide, LEAST_WIDE) + 2 * EDGE);
    const notes = [note, whole ? "" : "What is on screen; the view goes on."].filter(Boolean);
    const measure = context2d(document.createElement("canvas"));
    const rows = rowsOf(measure, stage, legends, width - 2 * EDGE);
    const above = EDGE + TITLE_LINE + (stage.source ? SOURCE_LINE : 0) + rows.length * LEGEND_LINE + 8;
    const height = Math.ceil(above + stage.height + notes.length * FIGURE_NOTE + EDGE);
    const ctx = begin(width, height);
    ctx.textBaseline = "middle";
    ctx.fillStyle = stage.theme.background;
    ctx.fillRect(0, 0, width, height);
    drawTexts(ctx, stage, title, width);
    rows.forEach((row, i) => drawLegends(ctx, stage, row, above - 8 - (rows.length - i - 0.5) * LEGEND_LINE));
    ctx.save();
    ctx.translate(EDGE, above);
    ctx.beginPath();
    ctx.rect(0, 0, width - 2 * EDGE, stage.height);
    ctx.clip();
    mode.draw(ctx);
    ctx.restore();
    ctx.font = stage.font(11);
    ctx.fillStyle = stage.theme.faint;
    ctx.textAlign = "left";
    notes.forEach((text, i) => ctx.fillText(fitted(ctx, text, width - 2 * EDGE), EDGE, above + stage.height + (i + 0.7) * FIGURE_NOTE));
    return title;
  });
}

/** @param {CanvasRenderingContext2D} ctx @param {Stage} stage @param {string} title @param {number} width */
function drawTexts(ctx, stage, title, width) {
  const room = width - 2 * EDGE;
  ctx.textAlign = "left";
  ctx.font = stage.font(16, "600");
  ctx.fillStyle = stage.theme.text;
  ctx.fillText(fitted(ctx, title, room), EDGE, EDGE + TITLE_LINE / 2 - 2);
  ctx.font = stage.font(12);
  ctx.fillStyle = stage.theme.faint;
  if (stage.source) ctx.fillText(fitted(ctx, stage.source, room), EDGE, EDGE + TITLE_LINE + SOURCE_LINE / 2 - 3);
}

/**
 * Legends in rows; many colors take several.
 * @param {CanvasRenderingContext2D} ctx to measure @param {Stage} stage @param {FigureLegend[]} legends @param {number} room px
 * @returns {FigureLegend[][]}
 */
function rowsOf(ctx, stage, legends, room) {
  ctx.font = stage.font(12);
  /** @type {FigureLegend[][]} */
  const rows = [];
  let left = 0; // room in the last row
  for (const legend of legends.flatMap((one) => cut(ctx, one, room))) {
    const wide = widthOf(ctx, legend);
    if (wide > left) {
      rows.push([]);
      left = room;
    }
    rows[rows.length - 1].push(legend);
    left -= wide + LEGENDS_APART;
  }
  return rows;
}

/** Colors that one row has room for, and the next. @param {CanvasRenderingContext2D} ctx @param {FigureLegend} legend @param {number} room @returns {FigureLegend[]} */
function cut(ctx, legend, room) {
  if (legend.kind === "ramp" || widthOf(ctx, legend) <= room || legend.items.length < 2) return [legend];
  const half = Math.ceil(legend.items.length / 2);
  const [first, rest] = [legend.items.slice(0, half), legend.items.slice(half)];
  return [...cut(ctx, { ...legend, items: first }, room), ...cut(ctx, { ...legend, title: "", items: rest }, room)];
}

/** @param {CanvasRenderingContext2D} ctx @param {FigureLegend} legend */
function widthOf(ctx, legend) {
  const text = (/** @type {string} */ some) => ctx.measureText(some).width;
  const title = legend.title ? text(legend.title) + 10 : 0;
  if (legend.kind === "ramp") {
    const more = (legend.middle ? 12 + text(legend.middle) : 0) + (legend.masked ? 12 + MASKED_BOX + 6 + text("masked") : 0);
    return title + text(legend.low) + 8 + COLOR_BAR + 8 + text(legend.high) + more;
  }
  return title + legend.items.reduce((sum, item) => sum + 16 + text(item.text) + 12, 0);
}

/** @param {CanvasRenderingContext2D} ctx @param {Stage} stage @param {FigureLegend[]} legends @param {number} y */
function drawLegends(ctx, stage, legends, y) {
  const { theme } = stage;
  let x = EDGE;
  ctx.font = stage.font(12);
  ctx.textAlign = "left";
  /** @param {string} text @param {string} color @param {number} after */
  const write = (text, color, after) => {
    ctx.fillStyle = color;
    ctx.fillText(text, x, y);
    x += ctx.measureText(text).width + after;
  };
  for (const legend of legends) {
    if (legend.title) write(legend.title, theme.faint, 10);
    if (legend.kind === "ramp") {
      write(legend.low, theme.text, 8);
      drawRamp(ctx, theme, legend, x, y - 5, COLOR_BAR, 10);
      x += COLOR_BAR + 8;
      write(legend.high, theme.text, 0);
      if (legend.middle) {
        x += 12;
        write(legend.middle, theme.text, 0);
      }
      if (legend.masked) {
        x += 12;
        drawSwatch(ctx, theme, x, y - 5, MASKED_BOX, 10);
        x += MASKED_BOX + 6;
        write("masked", theme.text, 0);
      }
    } else {
      for (const { color, text } of legend.items) {
        ctx.fillStyle = color;
        ctx.fillRect(x, y - 5, 10, 10);
        x += 16;
        write(text, theme.text, 12);
      }
    }
    x += LEGENDS_APART;
  }
}

const SHARP = 3; // px of a PNG for each px on the page, at most, where cells are enlarged

/** @returns {import("./svgcontext.js").Surface} */
function browserSurface() {
  const ctx = context2d(document.createElement("canvas"));
  return {
    measure(font, text) {
      ctx.font = font;
      return ctx.measureText(text);
    },
    color(style) {
      ctx.fillStyle = style;
      return String(ctx.fillStyle);
    },
    embed(image, [sx, sy, sw, sh], [, , dw, dh], smooth) {
      // Cells are enlarged here, by a whole number: some programs would blur them.
      const times = smooth ? 1 : Math.max(1, Math.min(16, Math.floor((SHARP * Math.max(dw, dh)) / Math.max(sw, sh))));
      const part = document.createElement("canvas");
      [part.width, part.height] = [Math.max(1, Math.round(sw * times)), Math.max(1, Math.round(sh * times))];
      const on = context2d(part);
      on.imageSmoothingEnabled = false;
      on.drawImage(image, sx, sy, sw, sh, 0, 0, part.width, part.height);
      return part.toDataURL("image/png");
    },
  };
}
