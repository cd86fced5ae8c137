// What a person set in a canvas's toolbar, in the address: "v.heads=order.entropy", by the canvas's key.
//
// It works on the toolbar's controls as they stand in the page, by their names, so that a mode needs
// to know nothing of it. Only what differs from how the mode builds its toolbar is in the address.

import { readOwn, writeOwn } from "./pagehistory.js";

/**
 * A control: its name in the address, its value, and how to set it as if by hand.
 * @typedef {{name: string, read: () => string, set: (value: string) => void}} Control
 */

/** @param {Element} tool */
function nameOf(tool) {
  return (tool.getAttribute("aria-label") ?? "").toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** @param {ParentNode} tools @returns {Control[]} */
function controlsIn(tools) {
  const controls = /** @type {Control[]} */ ([]);
  for (const select of tools.querySelectorAll("select")) {
    controls.push({ name: nameOf(select), read: () => select.value, set: (value) => {
      if (![...select.options].some((option) => option.value === value)) return;
      select.value = value;
      select.dispatchEvent(new Event("change", { bubbles: true }));
    } });
  }
  for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (tools.querySelectorAll("input[type=range]"))) {
    controls.push({ name: nameOf(input), read: () => input.value, set: (value) => {
      input.value = value;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    } });
  }
  for (const group of tools.querySelectorAll("[role=group]")) {
    const buttons = /** @type {HTMLElement[]} */ ([...group.querySelectorAll("[aria-pressed]")]);
    if (!buttons.length) continue;
    const isPressed = (/** @type {HTMLElement} */ one) => one.getAttribute("aria-pressed") === "true";
    if (buttons.every((one) => one.dataset.value)) { // one of them
      controls.push({ name: nameOf(group), read: () => buttons.find(isPressed)?.dataset.value ?? "",
        set: (value) => buttons.find((one) => one.dataset.value === value)?.click() });
    } else { // any of them
      const valueOf = (/** @type {HTMLElement} */ one) => one.textContent ?? "";
      controls.push({ name: nameOf(group), read: () => buttons.filter(isPressed).map(valueOf).join("-"),
        set: (value) => {
          const wanted = new Set(value.split("-"));
          for (const one of buttons) if (isPressed(one) !== wanted.has(valueOf(one))) one.click();
        } });
    }
  }
  return controls.filter((control) => control.name);
}

/** @param {string | null} text @returns {Map<string, string>} */
function parsed(text) {
  return new Map((text ?? "").split("~").filter(Boolean).map((part) => {
    const dot = part.indexOf(".");
    return [part.slice(0, dot), part.slice(dot + 1)];
  }));
}

/** The key that the page gave a canvas: Streamlit makes a class of it. @param {HTMLElement} root */
function keyOf(root) {
  const shadow = root.getRootNode();
  const named = (shadow instanceof ShadowRoot ? shadow.host : root).closest("[class*=st-key-]");
  return [...(named?.classList ?? [])].find((name) => name.startsWith("st-key-"))?.slice("st-key-".length) ?? "";
}

/** Keep a canvas's toolbar and the address alike. @param {HTMLElement} root @returns {() => void} cleanup */
export function linkToolbar(root) {
  const tools = /** @type {HTMLElement} */ (root.querySelector(".tools"));
  /** By mode and control, the values that the mode itself chose. @type {Map<string, string>} */
  const defaults = new Map();
  const key = keyOf(root);
  const placeOf = (/** @type {Control} */ control) => `${root.dataset.mode} ${control.name}`;

  /** Set the controls to what the address says. */
  const restore = () => {
    const linked = parsed(readOwn(key));
    for (const control of controlsIn(tools)) {
      const place = placeOf(control);
      const wanted = linked.get(control.name) ?? defaults.get(place);
      if (!defaults.has(place)) defaults.set(place, control.read());
      if (wanted !== undefined && wanted !== control.read()) control.set(wanted);
    }
  };

  /** Put what a person changed into the address. @param {Event} event */
  const record = (event) => {
    if (!event.isTrusted) return; // not by hand
    const linked = parsed(readOwn(key));
    for (const control of controlsIn(tools)) {
      const value = control.read();
      if (value === defaults.get(placeOf(control))) linked.delete(control.name);
      else linked.set(control.name, value);
    }
    writeOwn(key, [...linked].map((part) => part.join(".")).join("~") || null);
  };

  const observer = new MutationObserver(restore); // a mode that is shown builds its toolbar
  observer.observe(tools, { childList: true });
  for (const name of ["change", "input", "click"]) tools.addEventListener(name, record);
  window.addEventListener("popstate", restore);
  restore();
  return () => {
    observer.disconnect();
    window.removeEventListener("popstate", restore);
  };
}
