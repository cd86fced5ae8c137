// The drawing context that writes SVG, without a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SvgContext } from "../../attnviz/canvas/js/svgcontext.js";

const surface = {
  measure: (_font, text) => ({ width: 7 * text.length }),
  color: (style) => style,
  embed: () => "data:image/png;base64,AAAA",
};
const made = () => new SvgContext(200, 100, surface);

test("text is text: escaped, in place, and without what XML has not", () => {
  const ctx = made();
  ctx.font = "600 20px Arial, sans-serif";
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.fillStyle = "#123456";
  ctx.fillText('<b> & "q" \u0001\ud800', 30, 40);
  const file = ctx.text("a <title>");
  assert.match(file, /<title>a &lt;title&gt;<\/title>/);
  assert.match(file, /<text x="30" y="47" font-family="Arial, sans-serif" font-size="20" font-weight="600" text-anchor="end"/);
  assert.match(file, /fill="#123456">&lt;b&gt; &amp; &quot;q&quot; \ufffd\ufffd<\/text>/);
});

test("an emoji is one character of two halves and stays", () => {
  const ctx = made();
  ctx.fillText("🙂", 0, 0);
  assert.match(ctx.text(""), />🙂<\/text>/);
});

test("transforms add up, and restore takes them back", () => {
  const ctx = made();
  ctx.save();
  ctx.translate(10, 20);
  ctx.rotate(-Math.PI / 2);
  ctx.translate(3, 0); // 3 px up, seen from outside
  ctx.fillRect(1, 2, 3, 4);
  ctx.restore();
  ctx.fillRect(5, 6, 7, 8);
  const [turned, plain] = ctx.shapes;
  assert.match(turned, /transform="matrix\(0 -1 1 0 10 17\)"/);
  assert.equal(plain, '<rect x="5" y="6" width="7" height="8" fill="#000000"/>');
});

test("what is drawn while clipped is in the clip's group, nested ones in both", () => {
  const ctx = made();
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, 0, 50, 50);
  ctx.clip();
  ctx.fillRect(1, 1, 1, 1);
  ctx.beginPath();
  ctx.rect(0, 0, 20, 20);
  ctx.clip();
  ctx.fillRect(2, 2, 2, 2);
  ctx.restore();
  ctx.fillRect(3, 3, 3, 3);
  assert.deepEqual(ctx.shapes.map((shape) => shape.slice(0, 28)), [
    '<g clip-path="url(#clip0)">', '<rect x="1" y="1" width="1" ', "</g>",
    '<g clip-path="url(#clip1)">', '<rect x="2" y="2" width="2" ', "</g>", '<rect x="3" y="3" width="3" ',
  ]);
  assert.match(ctx.defs[1], /<clipPath id="clip1" clip-path="url\(#clip0\)">/);
});

test("lines keep their width, opacity and color, whatever opacity a color has", () => {
  const ctx = made();
  ctx.strokeStyle = "rgba(1, 2, 3, 0.5)";
  ctx.lineWidth = 2.5;
  ctx.globalAlpha = 0.25;
  ctx.beginPath();
  ctx.moveTo(0, 1);
  ctx.lineTo(10, 1.23456);
  ctx.stroke();
  assert.equal(ctx.shapes[0],
    '<path d="M0 1L10 1.23" fill="none" stroke="rgb(1, 2, 3)" stroke-opacity="0.5" opacity="0.25" stroke-width="2.5"/>');
});

test("cells of an image are not smoothed where the canvas would not", () => {
  const ctx = made();
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage({ width: 4, height: 4 }, 0, 0, 2, 2, 10, 20, 30, 40);
  assert.match(ctx.shapes[0], /^<image x="10" y="20" width="30" height="40" .*href="data:image\/png;base64,AAAA".*pixelated/);
});
