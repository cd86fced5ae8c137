// Style sheets of components that are served as files; each has a shadow root of its own.

/** @param {string} name of a file beside this one @returns {Promise<CSSStyleSheet>} */
export async function styleSheet(name) {
  const sheet = new CSSStyleSheet();
  return sheet.replace(await (await fetch(new URL(name, import.meta.url))).text());
}

const canvas = await styleSheet("canvas.css");

/** @param {ParentNode} parent the component's root @param {CSSStyleSheet[]} more after the canvas's own */
export function adoptStyle(parent, ...more) {
  const shadow = /** @type {ShadowRoot} */ (parent);
  if (!shadow.adoptedStyleSheets.includes(canvas)) shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, canvas, ...more];
}
