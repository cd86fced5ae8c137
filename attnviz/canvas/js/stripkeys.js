// The strip under the keyboard: arrows walk from token to token and from line to line.

import { spoken } from "./stage.js";

/** @param {any} strip a StripMode @param {KeyboardEvent} event @returns {boolean} whether it was for the strip */
export function moveInStrip(strip, event) {
  const now = strip.cursor ?? strip.hovered ?? strip.focus;
  const last = strip.names.length - 1;
  const walk = (chip) => walkTo(strip, now === null ? 0 : chip());
  if (event.key === "Escape") strip.hold(null);
  else if (event.key === "Enter" || event.key === " ") {
    if (now !== null) strip.hold(now);
  } else if (event.key === "Home") walkTo(strip, 0);
  else if (event.key === "End") walkTo(strip, last);
  else if (event.key === "ArrowLeft") walk(() => Math.max(0, now - 1));
  else if (event.key === "ArrowRight") walk(() => Math.min(last, now + 1));
  else if (event.key === "ArrowUp") walk(() => chipBeside(strip, now, -1));
  else if (event.key === "ArrowDown") walk(() => chipBeside(strip, now, 1));
  else return false;
  return true;
}

/** The nearest chip a line above or below. */
function chipBeside(strip, chip, step) {
  const line = strip.lines[strip.lines.indexOf(strip.lineOf(chip)) + step];
  if (!line) return chip;
  const middle = strip.xs[chip] + strip.shown[chip] / 2;
  const away = (other) => Math.abs(strip.xs[other] + strip.shown[other] / 2 - middle);
  let best = line.from;
  for (let other = line.from; other < line.to; other++) if (away(other) < away(best)) best = other;
  return best;
}

function walkTo(strip, chip) {
  if (!strip.names.length) return;
  strip.cursor = chip;
  const { scroll, height } = strip.stage;
  const { y, h } = strip.boxOf(chip);
  if (y < 0 || y + h > height) {
    const before = scroll.scrollTop;
    scroll.scrollTop = strip.lineOf(chip).y - (height - h) / 2;
    strip.walking = scroll.scrollTop !== before;
  }
  const box = strip.boxOf(chip);
  const rows = strip.describe(chip);
  strip.stage.tip(box.x, box.y + box.h - 10, rows);
  strip.stage.say(spoken(rows));
  strip.stage.repaint();
}
