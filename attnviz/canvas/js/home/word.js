// The word under the pointer, told to all of Home's parts: they stand in one document.

const NAME = "attnviz-word";

/** @typedef {{index: number, text: string}} Word */

/** @param {Word | null} word */
export function tellWord(word) {
  document.dispatchEvent(new CustomEvent(NAME, { detail: word }));
}

/** @param {(word: Word | null) => void} listen @returns {() => void} ends it */
export function onWord(listen) {
  const heard = (/** @type {Event} */ event) => listen(/** @type {CustomEvent} */ (event).detail);
  document.addEventListener(NAME, heard);
  return () => document.removeEventListener(NAME, heard);
}
