// Pan and zoom of a map, and which cells it shows and requests.

import assert from "node:assert/strict";
import { test } from "node:test";

import { covers, tileSide, ViewRequests } from "../../attnviz/canvas/js/requests.js";
import { LARGEST_CELL, ROOMY, Viewport } from "../../attnviz/canvas/js/viewport.js";

function viewport(rows, cols, width = 600, height = 400) {
  const view = new Viewport();
  view.resize([rows, cols], width, height);
  return view;
}
const close = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

test("at first the whole map fits, with cells no larger than is roomy", () => {
  const view = viewport(100, 200);
  assert.equal(view.whole, true);
  close(view.cell, 3);
  assert.deepEqual(view.visible(), { rows: [0, 100], cols: [0, 200] });
  assert.equal(viewport(3, 3).cell, ROOMY);
});

test("a zoom keeps the point under the pointer, within its limits", () => {
  const view = viewport(300, 300);
  view.zoom(4, 200, 150);
  const before = [(210 - view.x) / view.cell, (160 - view.y) / view.cell];
  view.zoom(1.7, 210, 160);
  close((210 - view.x) / view.cell, before[0]);
  close((160 - view.y) / view.cell, before[1]);
  assert.equal(view.whole, false);
  view.zoom(1e9, 210, 160);
  assert.equal(view.cell, LARGEST_CELL);
  view.zoom(1e-9, 0, 0);
  assert.equal(view.whole, true);
  assert.deepEqual([view.x, view.y], [-0, -0].map(Math.abs));
});

test("panning stops at the map's edges", () => {
  const view = viewport(300, 300);
  view.zoom(5, 0, 0);
  view.pan(1e6, 1e6);
  assert.deepEqual([view.x, view.y], [0, 0]);
  view.pan(-1e6, -1e6);
  close(view.right, 600);
  close(view.x + 300 * view.cell, 600);
  close(view.y + 300 * view.cell, 400);
});

test("the middle of a cell is in that cell, at every zoom", () => {
  const view = viewport(50, 80);
  for (const factor of [1, 3, 2]) {
    view.zoom(factor, 111, 222);
    const { rows, cols } = view.visible();
    let inside = 0;
    for (let row = rows[0]; row < rows[1]; row++) {
      for (let col = cols[0]; col < cols[1]; col++) {
        const found = view.cellAt(...view.middle([row, col]));
        if (!found) continue; // cut by the plot's edge
        assert.deepEqual(found, [row, col]);
        inside++;
      }
    }
    assert.ok(inside >= (rows[1] - rows[0] - 2) * (cols[1] - cols[0] - 2));
  }
  assert.equal(view.cellAt(-1, 5), null);
  assert.equal(view.cellAt(601, 5), null);
});

test("a shown extent is visible, and a revealed cell too", () => {
  const view = viewport(500, 500);
  view.show([100, 140], [200, 260]);
  const { rows, cols } = view.visible();
  assert.ok(covers(rows, [100, 140]) && covers(cols, [200, 260]));
  view.reveal([499, 0]);
  const now = view.visible();
  assert.ok(now.rows[1] === 500 && now.cols[0] === 0);
});

test("a resize keeps a zoom and refits the whole map", () => {
  const view = viewport(100, 100);
  view.resize([100, 100], 300, 300);
  assert.equal(view.cell, 3);
  view.zoom(4, 0, 0);
  view.resize([100, 100], 500, 500);
  assert.equal(view.cell, 12);
});

test("many rows of few columns begin at the top, in rows that can be read", () => {
  const rowsShown = (rows, cols) => {
    const view = viewport(rows, cols);
    view.showTop();
    return view.visible().rows;
  };
  assert.deepEqual(rowsShown(1000, 8)[0], 0);
  assert.ok(rowsShown(1000, 8)[1] < 100);
  assert.deepEqual(rowsShown(1000, 1000), [0, 1000]);
  assert.deepEqual(rowsShown(10, 2), [0, 10]);
});

test("cells of unlike rows and columns fill the plot", () => {
  const view = new Viewport();
  view.resize([14, 64], 640, 560, true);
  assert.deepEqual([view.cell, view.tall], [10, 40]);
  assert.deepEqual([view.right, view.bottom], [640, 560]);
  assert.deepEqual(view.cellAt(25, 45), [1, 2]);
  assert.deepEqual(view.middle([1, 2]), [25, 60]);
  view.resize([3, 64], 640, 560, true); // three rows need not fill a screen
  assert.equal(view.tall, ROOMY);
  view.resize([200, 16], 640, 560, true); // more rows than can be read: all of them at first sight …
  assert.deepEqual(view.visible(), { rows: [0, 200], cols: [0, 16] });
  view.showTop(); // … or the first ones, and all columns
  assert.deepEqual(view.visible(), { rows: [0, 40], cols: [0, 16] });
  close(view.tall, 14);
  view.reveal([150, 3]);
  assert.ok(view.visible().rows[0] <= 150 && view.visible().rows[1] > 150);
  const [x, y] = view.middle([150, 3]);
  view.zoom(1.2, x, y);
  assert.deepEqual(view.cellAt(x, y), [150, 3]);
});

test("a tile's squares are the smallest power of two that keeps it within 1,024", () => {
  assert.equal(tileSide([0, 1024], [0, 10]), 1);
  assert.equal(tileSide([0, 1025], [0, 10]), 2);
  assert.equal(tileSide([1, 2049], [0, 10]), 4); // from 0 to 2050 in squares of 2: 1,025
  assert.equal(tileSide([0, 10], [0, 100_000]), 128);
});

test("covering", () => {
  assert.equal(covers([0, 10], [0, 10]), true);
  assert.equal(covers([1, 10], [0, 10]), false);
  assert.equal(covers([0, 9], [0, 10]), false);
});

test("the page is told each view once", () => {
  const sent = [];
  const requests = new ViewRequests((view) => sent.push(view), () => {});
  const view = { rows: [0, 5], cols: [0, 5], have: "a" };
  requests.tell(null); // the whole map is what the page assumes
  requests.tell(view);
  requests.tell({ ...view });
  requests.known({ ...view, have: "b" });
  requests.tell({ ...view, have: "b" });
  requests.tell(null);
  assert.deepEqual(sent, [view, null]);
});

test("of many moves the last is requested, and what it waits for is said", async () => {
  const sent = [];
  let waits = 0;
  await new Promise((resolve) => {
    const requests = new ViewRequests((view) => { sent.push(view); resolve(); }, () => waits++);
    for (let i = 1; i < 5; i++) requests.moved({ rows: [0, i], cols: [0, i], have: "a" }, true, false);
  });
  assert.deepEqual(sent.map((view) => view.rows), [[0, 4]]);
  assert.equal(waits, 1);
});
