// Moving a map by hand: one pointer pans, two zoom about their middle, a wheel zooms.

const LINE_PX = 33; // px of a wheel's line
const WHEEL_MOST = 200; // px of one wheel event
const WHEEL_SPEED = 0.0022; // logarithm of the zoom, a px
const PINCH_SPEED = 0.01; // of a pinch on a touchpad, which comes as a wheel with ctrl

/** Coordinates are px on the canvas. */
export class MapGestures {
  /** @param {{pan: (dx: number, dy: number) => void, zoom: (factor: number, x: number, y: number) => void}} map */
  constructor(map) {
    this.map = map;
    /** @type {Map<number, [number, number]>} */
    this.pointers = new Map(); // that are pressed
  }

  /** @param {number} x @param {number} y @param {PointerEvent} event */
  press(x, y, event) {
    this.pointers.set(event.pointerId, [x, y]);
  }

  /** @param {number} x @param {number} y @param {PointerEvent} event */
  drag(x, y, event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, [x, y]);
    const [dx, dy] = [x - before[0], y - before[1]];
    if (!other) {
      this.map.pan(dx, dy);
      return;
    }
    const apart = Math.hypot(before[0] - other[0], before[1] - other[1]) || 1;
    this.map.zoom(Math.hypot(x - other[0], y - other[1]) / apart, (x + other[0]) / 2, (y + other[1]) / 2);
    this.map.pan(dx / 2, dy / 2);
  }

  /** @param {PointerEvent} event */
  release(event) {
    this.pointers.delete(event.pointerId);
  }

  /** @param {number} x @param {number} y @param {WheelEvent} event */
  wheel(x, y, event) {
    if (event.shiftKey) {
      this.map.pan(-event.deltaY, 0);
      return;
    }
    const px = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1);
    const speed = event.ctrlKey ? PINCH_SPEED : WHEEL_SPEED;
    this.map.zoom(Math.exp(-Math.max(-WHEEL_MOST, Math.min(WHEEL_MOST, px)) * speed), x, y);
  }
}
