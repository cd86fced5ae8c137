// The film of a training as a Streamlit component.

import { adoptStyle, styleSheet } from "../servedstyle.js";
import { Film } from "./film.js";

const sheet = await styleSheet("film/film.css");

/** @type {WeakMap<Element, Film>} */
const films = new WeakMap();

/** @param {import("../main.js").Component} component @returns {() => void} cleanup */
export default function (component) {
  adoptStyle(component.parentElement, sheet);
  const root = /** @type {HTMLElement} */ (component.parentElement.querySelector(".film-root"));
  const film = films.get(root) ?? new Film(root);
  films.set(root, film);
  Object.assign(root, { attnviz: film }); // for tests and the browser's console
  film.receive(component);
  return () => {
    film.destroy();
    films.delete(root);
  };
}
