// Home's parts as one Streamlit component: its `view` says which of them is mounted.

// What the first picture needs is named here, all of it: the browser then asks for it at once. It has
// six connections, so the views beside and below load behind it.
import "../dom.js";
import "../palettes.js";
import { keepHistory } from "../pagehistory.js";
import "../theme.js";
import "./link.js";
import { MastheadView } from "./masthead.js";
import { SentenceView } from "./sentence.js";
import { STYLE } from "./style.js";
import "./word.js";

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

/** @typedef {{receive(content: any): void, end(): void}} View */

/** @type {Record<string, (root: HTMLElement, page: Page) => View | Promise<View>>} */
const VIEWS = {
  masthead: (root, page) => new MastheadView(root, page),
  sentence: (root, page) => new SentenceView(root, page),
  layer: async (root, page) => new (await import("./layer.js")).LayerView(root, page),
  cards: async (root, page) => new (await import("./cards.js")).CardsView(root, page),
};

keepHistory();

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

/** What stands in a root: a view, once its module has come, and the newest content for it. */
class Mounted {
  /** @param {HTMLElement} root @param {string} name @param {Page} page */
  constructor(root, name, page) {
    /** @type {View | null} */
    this.view = null;
    /** @type {unknown} */
    this.content = null;
    this.ended = false;
    const made = VIEWS[name](root, page);
    if (made instanceof Promise) made.then((view) => this.begin(view));
    else this.begin(made);
  }

  /** @param {View} view */
  begin(view) {
    this.view = view;
    if (this.ended) view.end();
    else if (this.content) view.receive(this.content);
  }

  /** @param {unknown} content */
  receive(content) {
    this.content = content;
    this.view?.receive(content);
  }

  end() {
    this.ended = true;
    this.view?.end();
  }
}

/** @type {WeakMap<Element, Mounted>} */
const mounts = new WeakMap();

/** @param {Mount} mount @returns {() => void} cleanup */
export default function ({ data, parentElement, setTriggerValue }) {
  const root = /** @type {HTMLElement} */ (parentElement.querySelector(".home"));
  const content = JSON.parse(new TextDecoder().decode(data));
  let mounted = mounts.get(root);
  if (!mounted) {
    parentElement.adoptedStyleSheets = [...parentElement.adoptedStyleSheets, sheet];
    mounted = new Mounted(root, content.view, {
      go: (place) => setTriggerValue("go", place),
      set: (parameter, value) => setTriggerValue("set", { [parameter]: value }),
    });
    mounts.set(root, mounted);
  }
  mounted.receive(content);
  if (content.announce) announceFirstPaint(() => setTriggerValue("painted", true));
  return () => {
    mounted.end();
    mounts.delete(root);
  };
}

let announced = false;

/** Tell once a visit that a picture is on screen. @param {() => void} tell */
function announceFirstPaint(tell) {
  if (announced) return;
  announced = true;
  requestAnimationFrame(() => setTimeout(tell, 0));
}
