// When a map asks the server: seldom, and only for cells that are in view and not here.

const DETAIL = 1024; // squares along one side of a tile, as ../map.py cuts them
const REQUEST_AFTER = 150; // ms without a move until cells are asked for
const REPORT_AFTER = 500; // ms until a move is told for the page's link alone

/** @typedef {{rows: number[], cols: number[], have: string} | null} RequestedView null: the whole map */

export class ViewRequests {
  /** @param {(view: RequestedView) => void} send @param {() => void} waits called when it begins to wait */
  constructor(send, waits) {
    this.send = send;
    this.waits = waits;
    this.waiting = false; // for cells
    this.last = "null"; // what was said last
    this.timer = 0;
  }

  /** @param {RequestedView} view @param {boolean} needed cells are missing @param {boolean} report tell every move */
  moved(view, needed, report) {
    clearTimeout(this.timer);
    const left = view === null && this.last !== "null"; // what was asked for is not in view any more
    if (needed) {
      this.timer = setTimeout(() => {
        this.waiting = true;
        this.waits();
        this.tell(view);
      }, REQUEST_AFTER);
    } else if (report || left) this.timer = setTimeout(() => this.tell(view), REPORT_AFTER);
  }

  /** @param {RequestedView} view */
  tell(view) {
    const said = JSON.stringify(view);
    if (said === this.last) return;
    this.last = said;
    this.send(view);
  }

  /** The page knows of this view, as it told us. @param {RequestedView} view */
  known(view) {
    this.last = JSON.stringify(view);
  }

  stop() {
    clearTimeout(this.timer);
  }
}

/** The side of a tile's squares that shows this much. @param {number[]} rows @param {number[]} cols */
export function tileSide(rows, cols) {
  const squares = (span, side) => Math.ceil(span[1] / side) - Math.floor(span[0] / side);
  let side = 1;
  while (Math.max(squares(rows, side), squares(cols, side)) > DETAIL) side *= 2;
  return side;
}

/** @param {number[]} a @param {number[]} b */
export function covers(a, b) {
  return a[0] <= b[0] && a[1] >= b[1];
}
