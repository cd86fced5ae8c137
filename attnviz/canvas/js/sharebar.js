// A bar as long as its share, with a name and the number.

import { element } from "./dom.js";

/** @param {number} value @param {number} [digits] */
export function shown(value, digits = 4) {
  if (value === -Infinity) return "−∞";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

/** @param {string} text from a token, whose letters may run from right to left */
export function token(text) {
  return element("bdi", { class: "token" }, [text]);
}

/**
 * @param {(Node | string)[]} name @param {number} share of 1
 * @param {(() => void) | null} act on a click @param {string} [help]
 */
export function shareBar(name, share, act, help = "") {
  const bar = element("i", {});
  bar.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  const parts = [element("span", { class: "what" }, name), element("b", {}, [shown(share, 3)]), element("span", { class: "bar-room" }, [bar])];
  const title = help || null;
  return act ? element("button", { type: "button", class: "share", title, click: act }, parts) : element("div", { class: "share", title }, parts);
}
