// Creating elements. Text is always text: nothing here takes HTML.

/** @typedef {string | number | boolean | null | undefined | ((event: Event) => void)} Property */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, Property>} [properties] attributes; functions become listeners
 * @param {(Node | string)[]} [children]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, properties = {}, children = []) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") created.addEventListener(name, value);
    else if (name === "class") created.className = String(value);
    else if (value === true) created.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) created.setAttribute(name, String(value));
  }
  created.append(...children);
  return created;
}

/** @param {HTMLCanvasElement} canvas @returns {CanvasRenderingContext2D} */
export function context2d(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser can't draw on a canvas.");
  return context;
}

/**
 * Buttons of which one is pressed.
 * @template {string} V
 * @param {string} label
 * @param {[V, string][]} choices value and name
 * @param {V} chosen
 * @param {(value: V) => void} choose
 */
export function segments(label, choices, chosen, choose) {
  const buttons = choices.map(([value, name]) =>
    element("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value,
      click: () => { press(value); choose(value); } }, [name]));
  /** @param {V} value */
  const press = (value) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
  };
  const group = element("span", { class: "segments", role: "group", "aria-label": label }, buttons);
  return { group, press, choose: (/** @type {V} */ value) => { press(value); choose(value); } };
}

/** @param {string} name @param {string} help @param {() => void} click */
export function plainButton(name, help, click) {
  return element("button", { type: "button", title: help, "aria-label": help, click }, [name]);
}

/**
 * @template {string} V
 * @param {string} label
 * @param {[V, string][]} choices value and name
 * @param {V} chosen
 * @param {(value: V) => void} choose
 */
export function dropdown(label, choices, chosen, choose) {
  const select = element("select", { "aria-label": label, change: () => choose(/** @type {V} */ (select.value)) },
    choices.map(([value, name]) => element("option", { value, selected: value === chosen }, [name])));
  return select;
}

/**
 * @param {string} label
 * @param {{min: number, max: number, step: number, value: number}} range
 * @param {(value: number) => string} text
 * @param {(value: number) => void} move
 */
export function slider(label, range, text, move) {
  const shown = element("output", {}, [text(range.value)]);
  const input = element("input", { type: "range", "aria-label": label, ...range,
    input: () => { move(Number(input.value)); shown.textContent = text(Number(input.value)); } });
  const group = element("label", { class: "slider" }, [element("span", {}, [label]), input, shown]);
  return { group, input, shown };
}

/** Download a file. @param {string} name @param {Blob} blob */
export function saveFile(name, blob) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** @param {string} title */
export function fileName(title) {
  return title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}
