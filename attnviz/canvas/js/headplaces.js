// Which heads have a hue of their own in the lines view: no more than everybody can tell apart.

export const HUES = 6; // of ../../charts/palettes.py's categories; the last one is gray
export const GRAY = HUES; // the place of every head without a hue

export class HeadPlaces {
  constructor() {
    /** @type {Map<number, number>} */
    this.places = new Map(); // in the palette, of heads by number
  }

  /**
   * While there are more heads than colors, hues go to the heads on screen: the one in front, then the
   * first ones. A head keeps its hue for as long as it is shown.
   * @param {number[]} heads all, by number @param {number[]} shown those on screen @param {number | null} front
   */
  assign(heads, shown, front) {
    if (heads.length <= HUES + 1) {
      this.places = new Map(heads.map((head, i) => [head, i]));
      return;
    }
    for (const head of this.places.keys()) if (!shown.includes(head)) this.places.delete(head);
    const inOrder = front !== null && shown.includes(front) ? [front, ...shown] : shown;
    if (front === inOrder[0] && !this.places.has(front) && this.places.size === HUES) {
      this.places.delete(/** @type {number} */ ([...this.places.keys()].at(-1)));
    }
    for (const head of inOrder) {
      if (this.places.size === HUES) break;
      if (!this.places.has(head)) this.places.set(head, this._free());
    }
  }

  /** The first hue that no head has. */
  _free() {
    const taken = new Set(this.places.values());
    let place = 0;
    while (taken.has(place)) place++;
    return place;
  }

  /** @param {number} head */
  of(head) {
    return this.places.get(head) ?? GRAY;
  }
}
