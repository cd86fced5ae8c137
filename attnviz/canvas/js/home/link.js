// Links between pages of the app.

import { element } from "../dom.js";

/**
 * A link that stays in the session when it is clicked; its address opens in a new tab as any other's.
 * @param {string} text
 * @param {string} address
 * @param {() => void} follow
 * @returns {HTMLAnchorElement}
 */
export function link(text, address, follow) {
  return followed(element("a", { href: address }, [text]), follow);
}

/** @param {HTMLAnchorElement} anchor @param {() => void} follow */
export function followed(anchor, follow) {
  anchor.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    follow();
  });
  return anchor;
}

/** @param {string} page @param {Record<string, string>} params */
export function addressOf(page, params) {
  return `${page}?${new URLSearchParams(params)}`;
}
