// The film of a training as a Streamlit component.

import { Film } from "./film.js";

const sheets = await Promise.all(["../canvas.css", "film.css"].map(async (name) => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(await (await fetch(new URL(name, import.meta.url))).text());
  return sheet;
}));

/** @type {WeakMap<Element, Film>} */
const films = new WeakMap();

/** @param {import("../main.js").Component} component @returns {() => void} cleanup */
export default function (component) {
  const shadow = /** @type {ShadowRoot} */ (component.parentElement);
  if (!shadow.adoptedStyleSheets.includes(sheets[0])) shadow.adoptedStyleSheets = [...shadow.adoptedStyleSheets, ...sheets];
  const root = /** @type {HTMLElement} */ (shadow.querySelector(".film-root"));
  const film = films.get(root) ?? new Film(root);
  films.set(root, film);
  Object.assign(root, { attnviz: film }); // for tests and the browser's console
  film.receive(component);
  return () => {
    film.destroy();
    films.delete(root);
  };
}
