// When a map reports its viewport: seldom, and for cells only if they are in view and not here.

/**
 * @typedef {import("./payload.js").Span} Span
 * @typedef {{rows: Span, cols: Span, have: string} | null} RequestedView null: the whole map
 */

const DETAIL = 1024; // squares along one side of a tile, as ../tiles.py cuts them
const REQUEST_AFTER = 150; // ms without a move until cells are requested
const REPORT_AFTER = 500; // ms until a move is reported for the page's link alone

export class ViewRequests {
  /** @param {(view: RequestedView) => void} send @param {() => void} onWait called when it begins to wait for cells */
  constructor(send, onWait) {
    this.send = send;
    this.onWait = onWait;
    this.waiting = false; // for cells
    this.last = "null"; // sent, as JSON
    this.timer = 0;
  }

  /** @param {RequestedView} view @param {boolean} needed cells are missing @param {boolean} report every move */
  moved(view, needed, report) {
    clearTimeout(this.timer);
    const left = view === null && this.last !== "null"; // what was requested is no longer in view
    if (needed) {
      this.timer = setTimeout(() => {
        this.waiting = true;
        this.onWait();
        this.tell(view);
      }, REQUEST_AFTER);
    } else if (report || left) this.timer = setTimeout(() => this.tell(view), REPORT_AFTER);
  }

  /** Send a view, unless it was sent last. @param {RequestedView} view */
  tell(view) {
    const text = JSON.stringify(view);
    if (text === this.last) return;
    this.last = text;
    this.send(view);
  }

  /** The page knows this view already. @param {RequestedView} view */
  known(view) {
    this.last = JSON.stringify(view);
  }

  stop() {
    clearTimeout(this.timer);
  }
}

/** The square side of the tile for this extent. @param {Span} rows @param {Span} cols */
export function tileSide(rows, cols) {
  const squares = (/** @type {Span} */ [start, stop], /** @type {number} */ side) =>
    Math.ceil(stop / side) - Math.floor(start / side);
  let side = 1;
  while (Math.max(squares(rows, side), squares(cols, side)) > DETAIL) side *= 2;
  return side;
}

/** Whether a covers b. @param {Span} a @param {Span} b */
export function covers(a, b) {
  return a[0] <= b[0] && a[1] >= b[1];
}
