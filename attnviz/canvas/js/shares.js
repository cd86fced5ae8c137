// Shares of a whole as a Streamlit component: a bar for each, with its name and number.

import { adoptStyle } from "./servedstyle.js";
import { shareBar, token } from "./sharebar.js";

/**
 * @typedef {{token: string, share: number, position: number | null, help: string, clickable: boolean}} Share
 * @typedef {{label: string, shares: Share[]}} Shares
 */

/** @param {{data: Uint8Array, parentElement: ParentNode, setTriggerValue: (name: string, value: unknown) => void}} component */
export default function ({ data, parentElement, setTriggerValue }) {
  adoptStyle(parentElement);
  const root = /** @type {HTMLElement} */ (parentElement.querySelector(".canvas-root"));
  /** @type {Shares} */
  const { label, shares } = JSON.parse(new TextDecoder().decode(data));
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  root.replaceChildren(...shares.map((one, index) => shareBar(
    one.position === null ? [token(one.token)] : [`${one.position} `, token(one.token)],
    one.share,
    one.clickable ? () => setTriggerValue("chosen", index) : null,
    one.help)));
}
