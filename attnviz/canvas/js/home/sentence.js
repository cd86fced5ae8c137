// A text's words with the arcs of one head, drawn as one hovers; heads to choose from.

import { element } from "../dom.js";
import { headColor, readTheme } from "../theme.js";
import { addressOf, link } from "./link.js";
import { tellWord } from "./word.js";

const NS = "http://www.w3.org/2000/svg";
const FAINTEST = { all: 100, row: 10 }; // thousandths: weaker arcs are left out
const WIDTH = { least: 0.5, most: 6 };

/**
 * @typedef {object} Head
 * @property {number} layer
 * @property {number} head
 * @property {string} role
 * @property {string} sentence
 * @property {import("./matrix.js").Matrix} weights
 */
/**
 * @typedef {object} Sentence
 * @property {string} model
 * @property {string} text
 * @property {string} own the text if a person typed it
 * @property {string[]} tokens
 * @property {[string, number][]} answers
 * @property {Head[]} heads
 */

export class SentenceView {
  /** @param {HTMLElement} root @param {import("./parts.js").Page} page */
  constructor(root, page) {
    this.root = root;
    this.page = page;
    /** @type {Sentence} */
    this.data = { model: "", text: "", own: "", tokens: [], answers: [], heads: [] };
    this.chosen = 0;
    this.shown = 0;
    /** @type {number | null} the token under the pointer */
    this.row = null;
    /** @type {string[]} */
    this.colors = [];
    /** @type {HTMLElement[]} */
    this.tokens = [];
    /** @type {HTMLElement[]} */
    this.chips = [];
    this.arcs = document.createElementNS(NS, "svg");
    this.arcs.setAttribute("class", "arcs");
    this.arcs.setAttribute("role", "img");
    this.list = element("ol");
    this.words = element("div", { class: "words" }, [this.arcs, this.list]);
    this.heads = element("div", { class: "chips", role: "group", "aria-label": "Heads" });
    this.says = element("p", { class: "says", "aria-live": "polite" });
    this.next = element("ol");
    const next = element("div", { class: "next" }, [element("p", { class: "quiet" }, ["Next token"]), this.next]);
    this.input = element("input", { "aria-label": "Try your own text", placeholder: "Try your own text, and press Enter",
      maxlength: 400 });
    root.replaceChildren(this.words, this.heads, this.says, next, this.form());
    this.resized = new ResizeObserver(() => this.draw(false));
    this.resized.observe(this.words);
  }

  /** @param {Sentence} content */
  receive(content) {
    const again = content.text === this.data.text && content.heads.length === this.data.heads.length;
    this.data = content;
    const theme = readTheme(this.root);
    this.colors = content.heads.map((_, i) => headColor(theme, i));
    if (!again) {
      this.chosen = this.shown = firstHead(content.heads);
      this.row = null;
      this.input.value = content.own;
    }
    this.tokens = content.tokens.map((text, i) => this.token(text, i));
    this.chips = content.heads.map((head, i) => this.chip(head, i));
    this.list.replaceChildren(...this.tokens, ...(content.answers.length ? [this.answer()] : []));
    this.heads.replaceChildren(...this.chips);
    this.next.replaceChildren(...this.predictions());
    this.draw(!again);
  }

  end() {
    this.resized.disconnect();
  }

  /** One's own text: Enter shows it here, the button in Explore. @returns {HTMLElement} */
  form() {
    const explore = element("button", { type: "button", class: "main",
      click: () => this.page.go(`text ${this.input.value.trim() || this.data.text}`) }, ["Open in Explore"]);
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.page.set("try", this.input.value.trim());
    };
    return element("form", { submit }, [this.input, element("button", { type: "submit" }, ["Show"]), explore]);
  }

  /** @param {string} text @param {number} i @returns {HTMLElement} */
  token(text, i) {
    const [on, off] = [() => this.hover(i), () => this.hover(null)];
    return element("li", { class: text.startsWith(" ") ? "token spaced" : "token", tabindex: 0, pointerenter: on, pointerleave: off, focus: on, blur: off },
      [text.trim() || "␣", element("small")]);
  }

  /** @param {Head} head @param {number} i @returns {HTMLElement} */
  chip(head, i) {
    return element("button", { type: "button", class: "chip", style: `--head: ${this.colors[i]}`,
      pointerenter: () => this.show(i), pointerleave: () => this.show(this.chosen), focus: () => this.show(i),
      click: () => this.choose(i) },
    [element("i"), head.role, element("span", {}, [`L${head.layer} H${head.head}`])]);
  }

  answer() {
    const [text, probability] = this.data.answers[0];
    return element("li", { class: "answer", title: "The model's next token" }, [`${text} ${percent(probability)}`]);
  }

  /** The likeliest next tokens as bars. @returns {HTMLElement[]} */
  predictions() {
    return this.data.answers.map(([token, p]) => element("li", {}, [
      element("span", {}, [token]),
      element("b", {}, [element("i", { style: `--share: ${p}` }), percent(p)]),
    ]));
  }

  /** @param {number} i */
  choose(i) {
    this.chosen = i;
    this.show(i);
  }

  /** @param {number} i */
  show(i) {
    const animate = i !== this.shown;
    this.shown = i;
    this.draw(animate);
  }

  /** @param {number | null} row */
  hover(row) {
    this.row = row;
    tellWord(row === null ? null : { index: row, text: this.data.tokens[row].trim() });
    this.draw(true);
  }

  /** @param {boolean} animate */
  draw(animate) {
    const head = this.data.heads[this.shown];
    this.chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(i === this.shown)));
    if (!head) {
      this.arcs.replaceChildren();
      this.says.textContent = "No head of this text passes a threshold; Explore shows all of them.";
      return;
    }
    this.root.style.setProperty("--head", this.colors[this.shown]);
    this.explain(head);
    const row = this.row ?? (head.role.includes("mover") ? head.weights.length - 1 : null);
    this.tokens.forEach((token, i) => {
      const number = token.querySelector("small");
      const weight = this.row === null ? 0 : head.weights[this.row][i];
      if (number) number.textContent = weight >= FAINTEST.row ? (weight / 1000).toFixed(2) : "";
      token.classList.toggle("on", i === this.row);
    });
    const rows = row === null ? head.weights.map((_, i) => i) : [row];
    const faintest = row === null ? FAINTEST.all : FAINTEST.row;
    const paths = rows.flatMap((query) => head.weights[query]
      .map((weight, key) => ({ query, key, weight }))
      .filter(({ weight }) => weight >= faintest)
      .map((edge) => this.arc(edge, row !== null)));
    this.arcs.setAttribute("aria-label", `${paths.length} arcs of layer ${head.layer}, head ${head.head}`);
    this.arcs.classList.remove("drawn");
    this.arcs.replaceChildren(...paths);
    if (animate) this.arcs.classList.add("drawn");
  }

  /** @param {Head} head */
  explain(head) {
    const { model, text } = this.data;
    const params = { model, text, layer: String(head.layer), head: String(head.head) };
    this.says.replaceChildren(
      element("b", {}, [`Layer ${head.layer}, head ${head.head}: ${head.role}. `]), `${head.sentence} `,
      link("Open this head in Explore", addressOf("explore", params), () => this.page.go(`head ${head.layer} ${head.head}`)));
  }

  /** @param {{query: number, key: number, weight: number}} edge @param {boolean} strong */
  arc({ query, key, weight }, strong) {
    const origin = this.words.getBoundingClientRect();
    const top = (/** @type {number} */ i) => {
      const box = this.tokens[i].getBoundingClientRect();
      return { x: box.left - origin.left + box.width / 2, y: box.top - origin.top };
    };
    const [from, to] = [top(query), top(key)];
    const path = document.createElementNS(NS, "path");
    let d;
    if (query === key) {
      d = `M${from.x - 5} ${from.y} c-9 -20 19 -20 10 0`;
    } else {
      const lift = Math.min(from.y, to.y) - Math.min(146, 22 + Math.abs(from.x - to.x) * 0.27) * 1.3;
      d = `M${from.x} ${from.y} C${from.x} ${lift} ${to.x} ${lift} ${to.x} ${to.y}`;
    }
    path.setAttribute("d", d);
    path.setAttribute("pathLength", "1");
    path.setAttribute("stroke-width", String(WIDTH.least + (WIDTH.most - WIDTH.least) * (weight / 1000)));
    path.setAttribute("opacity", String(strong ? 0.9 : 0.35 + 0.4 * (weight / 1000)));
    path.dataset.edge = `${query} ${key} ${weight}`;
    return path;
  }
}

/** The one to begin with: what moves the answer, or else the first. @param {Head[]} heads */
function firstHead(heads) {
  return Math.max(0, heads.findIndex((head) => head.role === "name mover"));
}

/** @param {number} p */
function percent(p) {
  return p < 0.005 ? `${(100 * p).toFixed(1)}%` : `${Math.round(100 * p)}%`;
}
