// A drawing context that writes SVG: what a mode draws on a canvas, as shapes and text.

/**
 * What only a browser knows.
 * @typedef {object} Surface
 * @property {(font: string, text: string) => TextMetrics} measure
 * @property {(style: string) => string} color as hexadecimal or rgba(): not every program reads more
 * @property {(image: CanvasImageSource, from: Box, to: Box, smooth: boolean) => string} embed part of an image, as a data URL
 * @typedef {[number, number, number, number]} Box x, y, width, height
 */

/**
 * @typedef {object} SvgState
 * @property {number[]} matrix a, b, c, d, e, f
 * @property {string} clip the id of a clip path, or nothing
 * @property {string | object} fillStyle @property {string | object} strokeStyle
 * @property {number} lineWidth @property {number} globalAlpha
 * @property {string} lineCap @property {string} lineJoin @property {number[]} dash
 * @property {string} font @property {string} textAlign @property {string} textBaseline
 * @property {boolean} imageSmoothingEnabled
 */

const ANCHORS = /** @type {Record<string, string>} */ ({ right: "end", end: "end", center: "middle" });
const IMAGE = "href"; // an image's address: its own bytes
const MIDDLE = 0.35; // em from the baseline to the middle of a letter
const UNREADABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** The part of CanvasRenderingContext2D that the modes use. */
export class SvgContext {
  /** @param {number} width @param {number} height @param {Surface} surface */
  constructor(width, height, surface) {
    this.width = width;
    this.height = height;
    this.surface = surface;
    /** @type {string[]} */
    this.shapes = [];
    /** @type {string[]} */
    this.defs = [];
    /** @type {SvgState[]} */
    this.saved = [];
    this.path = "";
    this.open = ""; // the clip path of the group that is open
    /** @type {SvgState} */
    this.state = {
      matrix: [1, 0, 0, 1, 0, 0], clip: "", fillStyle: "#000000", strokeStyle: "#000000", lineWidth: 1, globalAlpha: 1,
      lineCap: "butt", lineJoin: "miter", dash: [], font: "400 10px sans-serif", textAlign: "start", textBaseline: "alphabetic",
      imageSmoothingEnabled: true,
    };
  }

  /** The whole file. @param {string} title */
  text(title) {
    const size = `width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}"`;
    const defs = this.defs.length ? `<defs>${this.defs.join("")}</defs>\n` : "";
    return `<svg xmlns="http://www.w3.org/2000/svg" ${size} xml:space="preserve">\n<title>${xml(title)}</title>\n` +
      `${defs}${this.shapes.join("\n")}${this.open ? "\n</g>" : ""}\n</svg>\n`;
  }

  // ---- state -----------------------------------------------------------------------------------

  save() {
    this.saved.push({ ...this.state });
  }

  restore() {
    this.state = this.saved.pop() ?? this.state;
  }

  /** @param {number} x @param {number} y */
  translate(x, y) {
    this._transform(1, 0, 0, 1, x, y);
  }

  /** @param {number} x @param {number} y */
  scale(x, y) {
    this._transform(x, 0, 0, y, 0, 0);
  }

  /** @param {number} angle */
  rotate(angle) {
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    this._transform(cos, sin, -sin, cos, 0, 0);
  }

  /** @param {number} a @param {number} b @param {number} c @param {number} d @param {number} e @param {number} f */
  _transform(a, b, c, d, e, f) {
    const [A, B, C, D, E, F] = this.state.matrix;
    this.state.matrix = [A * a + C * b, B * a + D * b, A * c + C * d, B * c + D * d, A * e + C * f + E, B * e + D * f + F];
  }

  /** @param {number[]} dash */
  setLineDash(dash) {
    this.state.dash = dash;
  }

  // ---- paths -----------------------------------------------------------------------------------

  beginPath() {
    this.path = "";
  }

  closePath() {
    this.path += "Z";
  }

  /** @param {number} x @param {number} y */
  moveTo(x, y) {
    this.path += `M${decimals(x)} ${decimals(y)}`;
  }

  /** @param {number} x @param {number} y */
  lineTo(x, y) {
    this.path += `${this.path ? "L" : "M"}${decimals(x)} ${decimals(y)}`;
  }

  /** @param {number} a @param {number} b @param {number} x @param {number} y */
  quadraticCurveTo(a, b, x, y) {
    this.path += `Q${[a, b, x, y].map(decimals).join(" ")}`;
  }

  /** @param {number} a @param {number} b @param {number} c @param {number} d @param {number} x @param {number} y */
  bezierCurveTo(a, b, c, d, x, y) {
    this.path += `C${[a, b, c, d, x, y].map(decimals).join(" ")}`;
  }

  /** @param {number} x @param {number} y @param {number} r @param {number} from @param {number} to */
  arc(x, y, r, from, to) {
    const round = to - from >= 2 * Math.PI;
    const at = (/** @type {number} */ angle) => /** @type {const} */ ([x + r * Math.cos(angle), y + r * Math.sin(angle)]);
    const middle = round ? from + Math.PI : (from + to) / 2;
    this.lineTo(...at(from));
    for (const end of [at(middle), at(round ? from : to)]) this.path += `A${decimals(r)} ${decimals(r)} 0 0 1 ${end.map(decimals).join(" ")}`;
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h */
  rect(x, y, w, h) {
    this.path += `M${decimals(x)} ${decimals(y)}h${decimals(w)}v${decimals(h)}h${decimals(-w)}Z`;
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h @param {number} radius */
  roundRect(x, y, w, h, radius) {
    const r = Math.max(0, Math.min(radius, w / 2, h / 2));
    const corner = (/** @type {number} */ dx, /** @type {number} */ dy) => `a${decimals(r)} ${decimals(r)} 0 0 1 ${decimals(dx)} ${decimals(dy)}`;
    this.path += `M${decimals(x + r)} ${decimals(y)}h${decimals(w - 2 * r)}${corner(r, r)}v${decimals(h - 2 * r)}${corner(-r, r)}` +
      `h${decimals(2 * r - w)}${corner(-r, -r)}v${decimals(2 * r - h)}${corner(r, -r)}Z`;
  }

  clip() {
    const id = `clip${this.defs.length}`;
    const outer = this.state.clip ? ` clip-path="url(#${this.state.clip})"` : "";
    this.defs.push(`<clipPath id="${id}"${outer}><path d="${this.path}"${this._place()}/></clipPath>`);
    this.state.clip = id;
  }

  fill() {
    this._add(`<path d="${this.path}"${this._paint("fill")}`);
  }

  stroke() {
    this._add(`<path d="${this.path}" fill="none"${this._line()}`);
  }

  // ---- shapes ----------------------------------------------------------------------------------

  /** @param {number} x @param {number} y @param {number} w @param {number} h */
  fillRect(x, y, w, h) {
    this._add(`<rect${boxed(x, y, w, h)}${this._paint("fill")}`);
  }

  /** @param {number} x @param {number} y @param {number} w @param {number} h */
  strokeRect(x, y, w, h) {
    this._add(`<rect${boxed(x, y, w, h)} fill="none"${this._line()}`);
  }

  clearRect() {}

  /** @param {string} text */
  measureText(text) {
    return this.surface.measure(this.state.font, text);
  }

  /** @param {string} text @param {number} x @param {number} y */
  fillText(text, x, y) {
    if (!text) return;
    const { font, textAlign, textBaseline } = this.state;
    const [, weight, size, family] = /^(\S+)\s+([\d.]+)px\s+(.*)$/.exec(font) ?? ["", "400", "10", "sans-serif"];
    const down = textBaseline === "middle" ? MIDDLE * Number(size) : 0;
    const anchor = ANCHORS[textAlign] ? ` text-anchor="${ANCHORS[textAlign]}"` : "";
    const type = `font-family="${xml(family)}" font-size="${size}"${weight === "400" ? "" : ` font-weight="${weight}"`}`;
    // Where the font is not installed, another one has to fit in the same room.
    const room = ` textLength="${decimals(this.measureText(text).width)}" lengthAdjust="spacingAndGlyphs"`;
    this._add(`<text x="${decimals(x)}" y="${decimals(y + down)}" ${type}${anchor}${room}${this._paint("fill")}`, `>${xml(text)}</text>`);
  }

  /** @param {HTMLCanvasElement} image @param {number[]} at where it goes, or from where it comes and where it goes */
  drawImage(image, ...at) {
    const from = /** @type {Box} */ (at.length > 4 ? at.slice(0, 4) : [0, 0, image.width, image.height]);
    const to = /** @type {Box} */ (at.slice(-4));
    const smooth = this.state.imageSmoothingEnabled;
    const bytes = this.surface.embed(image, from, to, smooth);
    this._add(`<image${boxed(...to)} preserveAspectRatio="none" ${IMAGE}="${bytes}"${this._opacity()}` +
      (smooth ? "" : ' style="image-rendering: pixelated"'));
  }

  /** @param {HTMLCanvasElement} image */
  createPattern(image) {
    const { width, height } = image;
    const id = `pattern${this.defs.length}`;
    const all = /** @type {Box} */ ([0, 0, width, height]);
    this.defs.push(`<pattern id="${id}" patternUnits="userSpaceOnUse" width="${width}" height="${height}">` +
      `<image${boxed(...all)} ${IMAGE}="${this.surface.embed(image, all, all, true)}"/></pattern>`);
    return { id, setTransform() {} };
  }

  // ---- writing ---------------------------------------------------------------------------------

  /** @param {string} start of an element @param {string} [end] */
  _add(start, end = "/>") {
    const { clip } = this.state;
    if (clip !== this.open) {
      if (this.open) this.shapes.push("</g>");
      if (clip) this.shapes.push(`<g clip-path="url(#${clip})">`);
      this.open = clip;
    }
    this.shapes.push(start + this._place() + end);
  }

  _place() {
    const { matrix } = this.state;
    if (matrix.every((value, i) => value === (i === 0 || i === 3 ? 1 : 0))) return "";
    return ` transform="matrix(${matrix.map((value) => Number(value.toFixed(4))).join(" ")})"`;
  }

  _opacity() {
    return this.state.globalAlpha < 1 ? ` opacity="${Number(this.state.globalAlpha.toFixed(3))}"` : "";
  }

  /** @param {"fill" | "stroke"} what */
  _paint(what) {
    const style = this.state[`${what}Style`];
    if (typeof style === "object") return ` ${what}="url(#${/** @type {{id: string}} */ (style).id})"${this._opacity()}`;
    const color = this.surface.color(style);
    const parts = /^rgba\((.*),\s*([\d.]+)\)$/.exec(color);
    const paint = parts ? ` ${what}="rgb(${parts[1]})" ${what}-opacity="${parts[2]}"` : ` ${what}="${color}"`;
    return paint + this._opacity();
  }

  _line() {
    const { lineWidth, lineCap, lineJoin, dash } = this.state;
    return this._paint("stroke") + (lineWidth === 1 ? "" : ` stroke-width="${decimals(lineWidth)}"`) +
      (lineCap === "butt" ? "" : ` stroke-linecap="${lineCap}"`) + (lineJoin === "miter" ? "" : ` stroke-linejoin="${lineJoin}"`) +
      (dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : "");
  }
}

// What a canvas keeps as properties is part of the state that save() and restore() keep.
for (const name of /** @type {(keyof SvgState)[]} */ (["fillStyle", "strokeStyle", "lineWidth", "globalAlpha", "lineCap", "lineJoin",
  "font", "textAlign", "textBaseline", "imageSmoothingEnabled"])) {
  Object.defineProperty(SvgContext.prototype, name, {
    /** @this {SvgContext} */
    get() { return this.state[name]; },
    /** @this {SvgContext} @param {never} value */
    set(value) { this.state[name] = value; },
  });
}

/** @param {number} value */
function decimals(value) {
  return Number(value.toFixed(2));
}

/** @param {number} x @param {number} y @param {number} w @param {number} h */
function boxed(x, y, w, h) {
  return ` x="${decimals(x)}" y="${decimals(y)}" width="${decimals(w)}" height="${decimals(h)}"`;
}

/** Text in XML, without the characters that XML has not. @param {string} text */
function xml(text) {
  return text.replace(UNREADABLE, "�").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}
