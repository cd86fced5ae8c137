// Home's parts as one Streamlit component: its `view` says which of them is mounted.

// All modules are named here: the browser then asks for them at once, and the first picture waits
// for one round of requests.
import "../dom.js";
import "../palettes.js";
import "../theme.js";
import { CardsView } from "./cards.js";
import { LayerView } from "./layer.js";
import "./link.js";
import { MastheadView } from "./masthead.js";
import "./matrix.js";
import { SentenceView } from "./sentence.js";
import { STYLE } from "./style.js";

/**
 * @typedef {object} Mount what Streamlit gives
 * @property {Uint8Array} data JSON
 * @property {ShadowRoot} parentElement
 * @property {(name: string, value: unknown) => void} setTriggerValue
 */

/**
 * @typedef {object} Page what a view may tell the page
 * @property {(name: string) => void} go lead on, to a place by a name that the page knows
 * @property {(name: string, value: string) => void} set put a value into the link
 */

const VIEWS = { masthead: MastheadView, sentence: SentenceView, layer: LayerView, cards: CardsView };

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

/** @type {WeakMap<Element, {receive(content: any): void, end(): void}>} the view in each root */
const views = new WeakMap();

/** @param {Mount} mount @returns {() => void} cleanup */
export default function ({ data, parentElement, setTriggerValue }) {
  const root = /** @type {HTMLElement} */ (parentElement.querySelector(".home"));
  const content = JSON.parse(new TextDecoder().decode(data));
  let view = views.get(root);
  if (!view) {
    parentElement.adoptedStyleSheets = [...parentElement.adoptedStyleSheets, sheet];
    const name = /** @type {keyof typeof VIEWS} */ (content.view);
    view = new VIEWS[name](root, {
      go: (place) => setTriggerValue("go", place),
      set: (parameter, value) => setTriggerValue("set", { [parameter]: value }),
    });
    views.set(root, view);
  }
  view.receive(content);
  if (content.announce) announceFirstPaint(() => setTriggerValue("painted", true));
  return () => {
    view.end();
    views.delete(root);
  };
}

let announced = false;

/** Tell once a visit that a picture is on screen. @param {() => void} tell */
function announceFirstPaint(tell) {
  if (announced) return;
  announced = true;
  requestAnimationFrame(() => setTimeout(tell, 0));
}
