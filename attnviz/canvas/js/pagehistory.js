// The address and the browser's Back and Forward: one entry for each thing that a person did.
//
// Streamlit (1.67) makes each value that a script writes into the address an entry of its own, also
// while a page opens, and a moved slider none. Here the first change of the address after a press or
// a key is an entry; what follows until the next one (its consequences, a page's own additions)
// belongs to it. When somebody goes back, Streamlit itself runs the script with that address.
//
// Parameters that begin with "v." are the browser's: no script knows them, so none removes them.

const OWN_PREFIX = "v.";
const BY_HAND = ["pointerdown", "keydown"];

let personActed = false; // since the address last changed
let addressRestored = false; // the address is one that was gone back to, and nothing was done since

/** Whether what arrives now is to be shown as the address says, not as it was moved. */
export function wentBack() {
  return addressRestored;
}

/** @param {string} name @returns {string | null} */
export function readOwn(name) {
  return new URLSearchParams(location.search).get(OWN_PREFIX + name);
}

/** @param {string} name @param {string | null} value null removes it */
export function writeOwn(name, value) {
  const url = new URL(location.href);
  if (value === null) url.searchParams.delete(OWN_PREFIX + name);
  else url.searchParams.set(OWN_PREFIX + name, value);
  travelTo(history.state, url);
}

/** Each page's own parameters when it was left. @type {Map<string, [string, string][]>} */
const leftWith = new Map();

/** The browser's own parameters, as they stand or as they were left. @param {string} pathname */
function ownOf(pathname) {
  const own = [...new URLSearchParams(location.search)].filter(([name]) => name.startsWith(OWN_PREFIX));
  if (pathname === location.pathname) return own;
  leftWith.set(location.pathname, /** @type {[string, string][]} */ (own));
  return leftWith.get(pathname) ?? [];
}

/** An address in one spelling: a space may be "%20" or "+". @param {string} search */
function spelled(search) {
  return new URLSearchParams(search).toString();
}

/** @param {unknown} state @param {URL} to */
function travelTo(state, to) {
  const isChange = to.pathname !== location.pathname || spelled(to.search) !== spelled(location.search);
  const isEntry = personActed && isChange;
  if (isChange) personActed = false;
  History.prototype[isEntry ? "pushState" : "replaceState"].call(history, state, "", to);
}

/** Once in a document. */
export function keepHistory() {
  if (Object.hasOwn(history, "pushState")) return;
  const act = (/** @type {Event} */ event) => {
    if (event instanceof KeyboardEvent && event.repeat) return;
    personActed = true;
    addressRestored = false;
  };
  for (const name of BY_HAND) window.addEventListener(name, act, { capture: true, passive: true });
  window.addEventListener("popstate", () => { personActed = false; addressRestored = true; }, { capture: true });

  /** @param {unknown} state @param {string} _unused @param {string | URL | null} [url] */
  const change = (state, _unused, url) => {
    const to = new URL(url ?? location.href, location.href);
    const own = ownOf(to.pathname);
    for (const name of [...to.searchParams.keys()]) if (name.startsWith(OWN_PREFIX)) to.searchParams.delete(name);
    for (const [name, value] of own) to.searchParams.set(name, value);
    travelTo(state, to);
  };
  history.pushState = change;
  history.replaceState = change;
}
