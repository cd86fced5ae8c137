// Making elements. Text is always text: nothing here takes HTML.

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] attributes; functions become listeners
 * @param {(Node | string)[]} [children]
 * @returns {any}
 */
export function element(tag, properties = {}, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name === "class") made.className = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(name, value);
  }
  for (const child of children) made.append(child);
  return made;
}

/**
 * Buttons of which one is pressed.
 * @param {string} label
 * @param {[string, string][]} choices value and name
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function segments(label, choices, chosen, choose) {
  const buttons = choices.map(([value, name]) =>
    element("button", { type: "button", "aria-pressed": String(value === chosen), "data-value": value,
      click: () => { press(value); choose(value); } }, [name]));
  const press = (value) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
  };
  const group = element("span", { class: "segments", role: "group", "aria-label": label }, buttons);
  return { group, choose: (value) => { press(value); choose(value); } };
}

/** @param {string} name @param {string} help @param {() => void} click */
export function plainButton(name, help, click) {
  return element("button", { type: "button", title: help, "aria-label": help, click }, [name]);
}

/**
 * @param {string} label
 * @param {[string, string][]} choices
 * @param {string} chosen
 * @param {(value: string) => void} choose
 */
export function dropdown(label, choices, chosen, choose) {
  const select = element("select", { "aria-label": label, change: () => choose(select.value) },
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
    input: () => { shown.textContent = text(Number(input.value)); move(Number(input.value)); } });
  const group = element("label", { class: "slider" }, [element("span", {}, [label]), input, shown]);
  return { group, input, shown };
}

/** Hand a file to the person. @param {string} name @param {Blob} blob */
export function saveFile(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** @param {string} text */
export function fileName(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}
