// Drawing chips: a position, a token, a tint, a mark under generated tokens.

import { hatchPath } from "./hatch.js";
import { placeOn } from "./hoverlink.js";
import { cssColor, letterColor, mix } from "./theme.js";
import { fitted } from "./text.js";

export const CHIP_TEXT = 13; // px
export const CHIP_SMALL = 9.5;

/**
 * The lines on screen.
 * @param {CanvasRenderingContext2D} ctx @param {import("./strip.js").StripMode} strip
 * @param {import("./payload.js").Span} window of lines
 * @returns {number} chips drawn
 */
export function drawChips(ctx, strip, [first, last]) {
  const { stage } = strip;
  const { headings, lines } = strip.chips;
  ctx.textAlign = "left";
  ctx.font = stage.font(11);
  ctx.fillStyle = stage.theme.faint;
  for (const { y, section } of headings) {
    if (y + 20 < stage.top || y > stage.top + stage.height) continue;
    const n = section.names.length;
    const silent = section.side === null ? ", not attended to by this head" : "";
    ctx.fillText(`${section.title} · ${n} token${n === 1 ? "" : "s"}${silent}`, 2, y + 10 - stage.top);
  }
  let drawn = 0;
  for (const line of lines.slice(first, last)) {
    for (let chip = line.from; chip < line.to; chip++) drawChip(ctx, strip, chip, line.section);
    drawn += line.to - line.from;
  }
  return drawn;
}

/**
 * @param {CanvasRenderingContext2D} ctx @param {import("./strip.js").StripMode} strip
 * @param {number} chip @param {import("./striplayout.js").Section} section
 */
function drawChip(ctx, strip, chip, section) {
  const { stage } = strip;
  const { theme } = stage;
  const box = strip.boxOf(chip);
  const { x, y, w, h } = box;
  const color = strip.colorOf(chip);
  const ground = color === null ? theme.background : cssColor(color);
  const letters = color === null ? theme.text : letterColor(color);
  chipPath(ctx, x, y, w, h);
  ctx.fillStyle = ground;
  ctx.fill();
  if (strip.unknowns.has(chip)) {
    hatchUnknown(ctx, box, mix(ground, letters, 0.28));
    chipPath(ctx, x, y, w, h);
  }
  ctx.strokeStyle = color === null ? theme.border : mix(ground, theme.text, 0.14);
  ctx.lineWidth = 1;
  ctx.stroke();
  const index = chip - section.start;
  const position = String(index);
  ctx.font = stage.font(CHIP_SMALL);
  ctx.fillStyle = mix(ground, letters, 0.74);
  ctx.fillText(position, x + 6, y + h / 2 + 1);
  const left = position.length * strip.digit + 11;
  ctx.font = stage.font(CHIP_TEXT);
  ctx.fillStyle = section.side === null ? theme.faint : letters;
  ctx.fillText(fitted(ctx, strip.names[chip], w - left - 6), x + left, y + h / 2 + 0.5);
  if (section.written !== null && index >= section.written) {
    ctx.fillStyle = theme.primary;
    ctx.fillRect(x + 3, y + h + 2, w - 6, 2);
  }
  if (chip === strip.focus) outlineChip(ctx, box, theme.selected, 2);
}

/**
 * @param {CanvasRenderingContext2D} ctx @param {{x: number, y: number, w: number, h: number}} box
 * @param {string} color @param {number} width of the line
 */
export function outlineChip(ctx, { x, y, w, h }, color, width) {
  chipPath(ctx, x - 1, y - 1, w + 2, h + 2);
  ctx.strokeStyle = color;
  ctx.lineWidth = width;
  ctx.stroke();
}

/** Slanted lines inside the path: the vocabulary does not know this text. @param {CanvasRenderingContext2D} ctx @param {{x: number, y: number, w: number, h: number}} box @param {string} color */
function hatchUnknown(ctx, { x, y, w, h }, color) {
  ctx.save();
  ctx.clip();
  ctx.strokeStyle = color;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  hatchPath(ctx, x, y, w, h);
  ctx.stroke();
  ctx.restore();
}

/** The query and the key that are hovered elsewhere. @param {CanvasRenderingContext2D} ctx @param {import("./strip.js").StripMode} strip @param {import("./hoverlink.js").LitTokens | null} lit */
export function drawLitChips(ctx, strip, lit) {
  for (const chip of litChips(strip, lit)) outlineChip(ctx, strip.boxOf(chip), strip.stage.theme.selected, 2.5);
}

/** @param {import("./strip.js").StripMode} strip @param {import("./hoverlink.js").LitTokens | null} lit */
export function litChips({ sections }, lit) {
  return [lit?.query ?? null, lit?.key ?? null].flatMap((token) => sections.flatMap(({ axis, names, start }) => {
    const at = placeOn([axis, 0], names.length, token);
    return at === null ? [] : [start + at];
  }));
}

/** @param {CanvasRenderingContext2D} ctx @param {number} x @param {number} y @param {number} w @param {number} h */
function chipPath(ctx, x, y, w, h) {
  ctx.beginPath();
  ctx.roundRect(x + 0.5, y + 0.5, w - 1, h - 1, 5);
}
