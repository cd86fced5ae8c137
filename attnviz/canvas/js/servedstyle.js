// The style sheet of components that are served as files; each has a shadow root of its own.

const sheet = new CSSStyleSheet();
sheet.replaceSync(await (await fetch(new URL("canvas.css", import.meta.url))).text());

/** @param {ParentNode} parent the component's root */
export function adoptStyle(parent) {
  const shadow = /** @type {ShadowRoot} */ (parent);
  if (!shadow.adoptedStyleSheets.includes(sheet)) shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, sheet];
}
