"""The canvas in a real Chromium: what is on screen against the backend's own numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from attnviz.analysis.heads import head_metrics
from attnviz.canvas import as_html, bundle, grid_payload, lines_payload, map_payload, neuron_payload
from attnviz.canvas.codecs import as_shown
from tests.browser.apps import canvas_app
from tests.browser.canvas_page import CanvasOn

SOON = "await new Promise((done) => setTimeout(done, 10));"


def weights_of(n: int, kind: str = "decoder", layer: int = 1, head: int = 2) -> np.ndarray:
    return canvas_app.trace_of(kind, n).attention(layer, head).weights().numpy()


def wheel(canvas: CanvasOn, row: int, col: int, times: int) -> None:
    """Zoom in with the mouse over a cell."""
    canvas.point(*canvas.middle(row, col))
    for _ in range(times):
        before = canvas.run("return mode.view.cell;")
        canvas.page.mouse.wheel(0, -120)
        canvas.run(
            f"while (mode.view.cell === argument && argument < 120) {{ {SOON} }}",
            before,
        )
    canvas.settle()


# ---- map ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [64, 300])
def test_the_number_under_the_cursor_is_the_backends_at_every_zoom(look, n):
    canvas, w = look(f"mode=map&n={n}"), weights_of(n)
    runs = canvas.said()["runs"]
    rng = np.random.default_rng(n)
    for zoom in range(3):
        view = canvas.run("return mode.view.visible();")
        for _ in range(6):
            row, col = int(rng.integers(*view["rows"])), int(rng.integers(*view["cols"]))
            x, y = canvas.middle(row, col)
            if not canvas.run("return mode.itemAt(...argument) !== null;", [x, y]):
                continue  # a cell cut by the plot's edge
            canvas.point(x, y)
            expected = "masked" if col > row else as_shown(float(w[row, col]))
            assert canvas.tip()["weight"] == expected, (zoom, row, col)
        wheel(canvas, n // 2, n // 3, 4)
    assert canvas.run("return mode.view.whole;") is False
    assert canvas.said()["runs"] == runs  # nothing of this asked the server


def test_past_1024_tokens_the_overview_is_exact_and_so_are_the_tiles(look):
    n = 2000
    canvas, w = look(f"mode=map&n={n}"), weights_of(n)
    row, col = 1501, 700
    canvas.point(*canvas.middle(row, col))
    square = w[1500:1502, 700:702]
    assert canvas.tip()["largest weight of 2 × 2"] == as_shown(float(square.max()))
    wheel(canvas, row, col, 12)
    canvas.wait_for("said.view !== null")
    canvas.run(f"while (!mode.detail) {{ {SOON} }}")
    canvas.settle()
    view = canvas.run("return mode.view.visible();")
    for r, c in itertools.product(
        *(np.linspace(*view[k], 5, dtype=int)[1:-1] for k in ("rows", "cols"))
    ):
        canvas.point(*canvas.middle(int(r), int(c)))
        assert canvas.tip()["weight"] == ("masked" if c > r else as_shown(float(w[r, c])))
    said = canvas.said()
    # the tile alone was sent: the overview and the names were there already (a slow browser asks on
    # its way to the last view, and what covers that view is not asked for again)
    height, width = canvas.run("return [mode.detail.tile.height, mode.detail.tile.width];")
    assert said["bytes"] < height * width * 2 + 4096 < 1000 * 1000 * 2
    # moving inside what has come asks for nothing; a hover never does
    asked = canvas.run("return mode.requests.last;")
    for dx in (5, -5, 3):
        canvas.run("mode.pan(argument, argument);", dx)
    canvas.timers_run_out()
    assert canvas.run("return mode.requests.last;") == asked
    assert canvas.said()["runs"] == said["runs"]


def test_tile_requests_are_few_and_bounded(look):
    canvas = look("mode=map&n=2000")
    runs = canvas.said()["runs"]
    wheel(canvas, 1000, 500, 10)
    for _ in range(30):  # one long drag, without a rest
        canvas.run("mode.pan(-40, -40);")
    canvas.timers_run_out()
    shown = canvas.run("const v = mode.view.visible(); return JSON.stringify([v.rows, v.cols]);")
    canvas.wait_for(f"JSON.stringify(said.view) === {shown!r}")
    said = canvas.said()
    assert said["runs"] - runs <= 3
    assert said["bytes"] <= 2 * 1024 * 1024 + 8192
    (r0, r1), (c0, c1) = said["view"]
    shown = canvas.run("return mode.view.visible();")
    assert [[r0, r1], [c0, c1]] == [shown["rows"], shown["cols"]]


def test_another_head_keeps_the_place_and_comes_whole(look):
    n = 300
    canvas = look(f"mode=map&n={n}")
    wheel(canvas, 200, 100, 5)
    before = canvas.run("return [mode.view.cell, mode.view.x, mode.view.y];")
    canvas.page.get_by_text("another head").click()
    canvas.wait_for("said.runs === 2")
    canvas.run(f"while (!mode.header.id.includes('/1/1/')) {{ {SOON} }}")
    assert canvas.run("return [mode.view.cell, mode.view.x, mode.view.y];") == before
    canvas.point(*canvas.middle(200, 100))
    assert canvas.tip()["weight"] == as_shown(float(weights_of(n, head=1)[200, 100]))


def test_a_link_says_what_is_in_view_and_brings_it_back(look):
    canvas = look("mode=map&n=64&report")
    assert canvas.said()["view"] is None
    wheel(canvas, 40, 20, 6)
    canvas.wait_for("said.view !== null")
    rows, cols = canvas.said()["view"]
    assert [rows, cols] == list(canvas.run("return mode.view.visible();").values())
    canvas.run("mode.reset();")
    canvas.wait_for("said.view === null")
    link = ",".join(map(str, (*rows, *cols)))
    again = look(f"mode=map&n=64&view={link}").run("return mode.view.visible();")
    middle = [(a + b) / 2 for a, b in (*again.values(),)]
    assert middle == pytest.approx([sum(rows) / 2, sum(cols) / 2], abs=2)


def test_drag_pinch_keys_and_double_click(look):
    canvas = look("mode=map&n=300")
    wheel(canvas, 150, 150, 6)
    x0, y0 = canvas.run("return [mode.view.x, mode.view.y];")
    left, top = canvas.box()
    mouse = canvas.page.mouse
    mouse.move(left + 300, top + 300)
    mouse.down()
    mouse.move(left + 340, top + 325, steps=4)
    mouse.up()
    assert canvas.run("return [mode.view.x, mode.view.y];") == pytest.approx([x0 + 40, y0 + 25])
    cell = canvas.run("return mode.view.cell;")
    canvas.run("""
        const fire = (type, id, x, y) => stage.picture.dispatchEvent(new PointerEvent(type, {
            pointerId: id, pointerType: "touch", buttons: 1, bubbles: true,
            clientX: argument[0] + x, clientY: argument[1] + y }));
        stage.picture.setPointerCapture = () => {};  // no finger is really there
        fire("pointerdown", 11, 250, 300); fire("pointerdown", 12, 350, 300);
        fire("pointermove", 12, 450, 300);
        fire("pointerup", 12, 450, 300); fire("pointerup", 11, 250, 300);
    """, [left, top])  # fmt: skip
    assert canvas.run("return mode.view.cell;") == pytest.approx(2 * cell, rel=0.01)
    canvas.page.mouse.dblclick(left + 300, top + 300)
    assert canvas.run("return mode.view.whole;") is True
    canvas.run("stage.picture.focus(); mode.hovered = null; mode.picked = null;")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "+", "+"):
        canvas.page.keyboard.press(key)
    assert canvas.run("return mode.hovered;") == [2, 1]
    assert canvas.run("return mode.view.whole;") is False
    said = as_shown(float(weights_of(300)[2, 1]))
    assert said in canvas.run("return stage.live.textContent;")
    canvas.page.keyboard.press("Enter")
    canvas.wait_for("said.cell !== null")
    assert canvas.said()["cell"] == [2, 1]
    canvas.page.keyboard.press("0")
    assert canvas.run("return mode.view.whole;") is True


class Fingers:
    """Real touches, as Chromium's own input gives them to the page."""

    def __init__(self, canvas: CanvasOn) -> None:
        self.canvas = canvas
        self.session = canvas.page.context.new_cdp_session(canvas.page)

    def at(self, kind: str, *places: tuple[float, float]) -> None:
        left, top = self.canvas.box()
        points = [{"x": left + x, "y": top + y, "id": i} for i, (x, y) in enumerate(places)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        self.canvas.settle()


def test_two_fingers_zoom_about_their_middle(look):
    n = 300
    canvas, w = look(f"mode=map&n={n}", touch=True), weights_of(n)
    runs = canvas.said()["runs"]
    fingers = Fingers(canvas)
    canvas.run("mode.zoom(5, mode.left + 300, mode.head + 250);")  # no edge stops the map
    under = "return mode.itemAt(...argument);"
    x, y = canvas.run("return [mode.left + mode.view.width / 2, mode.head + mode.view.height / 2];")
    middle = canvas.run(under, [x, y])
    cell = canvas.run("return mode.view.cell;")
    fingers.at("touchStart", (x - 40, y))
    fingers.at("touchStart", (x - 40, y), (x + 40, y))
    for apart in (50, 60, 80, 100, 120):
        fingers.at("touchMove", (x - apart, y), (x + apart, y))
    # three times as far apart: cells are three times as large, and the middle stays where it was
    assert canvas.run("return mode.view.cell;") == pytest.approx(3 * cell, rel=0.02)
    assert canvas.run(under, [x, y]) == pytest.approx(middle, abs=1)
    # both move aside: the map goes with them and keeps its size
    for step in (10, 20, 30, 40):
        fingers.at("touchMove", (x - 120 + step, y + step), (x + 120 + step, y + step))
    assert canvas.run("return mode.view.cell;") == pytest.approx(3 * cell, rel=0.03)
    assert canvas.run(under, [x + 40, y + 40]) == pytest.approx(middle, abs=1)
    fingers.at("touchEnd")
    assert canvas.run("return mode.gestures.pointers.size;") == 0
    # one finger alone drags
    before = canvas.run("return [mode.view.x, mode.view.y];")
    fingers.at("touchStart", (x, y))
    for step in (10, 20):
        fingers.at("touchMove", (x + step, y - step / 2))
    fingers.at("touchEnd")
    after = canvas.run("return [mode.view.x, mode.view.y];")
    assert after == pytest.approx([before[0] + 20, before[1] - 10], abs=1)
    assert canvas.run("return mode.picked;") is None  # a pinch is no pick
    # the mouse afterwards meets the same map
    row, col = canvas.run(under, [x, y])
    canvas.point(*canvas.middle(row, col))
    assert canvas.tip()["weight"] == ("masked" if col > row else as_shown(float(w[row, col])))
    assert canvas.said()["runs"] == runs


def test_color_scales_and_norms_are_the_browsers_own_work(look):
    n = 64
    canvas, w = look(f"mode=map&n={n}"), weights_of(n)
    runs = canvas.said()["runs"]
    color = """
        const ctx = mode.base.pyramid.levels[0].image.getContext("2d");
        return [...ctx.getImageData(argument[1], argument[0], 1, 1).data];
    """
    ramp = np.array(
        canvas.run(
            "return [...stage.theme.sequential].map((c) => [c & 255, c >> 8 & 255, c >> 16 & 255]);"
        )
    )

    def place(row: int, col: int) -> int:
        """Where on the ramp a cell's color lies."""
        red, green, blue, alpha = canvas.run(color, [row, col])
        assert alpha == 255
        return int(np.abs(ramp - [red, green, blue]).sum(axis=1).argmin())

    cells = [(40, 3), (63, 20), (10, 10), (30, 1)]
    low = max(1e-4, float(np.quantile(w[w > 0], 0.01)))
    expected = {
        ("Linear", "none"): lambda r, c: w[r, c] / w.max(),
        ("Linear", "row"): lambda r, c: w[r, c] / w[r].max(),
        ("Linear", "col"): lambda r, c: w[r, c] / w[:, c].max(),
        ("Log", "none"): lambda r, c: np.log(w[r, c] / low) / np.log(w.max() / low),
        ("Percentile", "none"): lambda r, c: (w[w > 0] < w[r, c]).mean(),
    }
    for (scale, norm), share in expected.items():
        canvas.page.get_by_role("button", name=scale).click()
        canvas.page.get_by_label("Normalize").select_option(norm) if scale != "Percentile" else None
        canvas.settle()
        for row, col in cells:
            assert place(row, col) == pytest.approx(255 * np.clip(share(row, col), 0, 1), abs=1.5)
        assert canvas.run(color, [3, 9])[3] == 0  # masked: no color of the scale
    assert canvas.said()["runs"] == runs


def stripes(pixels: np.ndarray) -> int:
    """Slanted lines along the middle row of an area: 0 if it has one color."""
    row = pixels[len(pixels) // 2].astype(int).sum(axis=1)
    dark = row < (row.min() + row.max()) / 2 if np.ptp(row) > 30 else np.zeros(len(row), bool)
    return int(np.count_nonzero(np.diff(dark.astype(int)) == 1))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_masked_cells_are_hatched_and_zeros_are_a_color(look, scheme):
    """On the map, in thumbnails and in the legends."""
    canvas = look("mode=map&n=20", scheme=scheme)
    size = round(canvas.run("return mode.view.cell;"))

    def area(row: int, col: int, side: int) -> np.ndarray:
        x, y = canvas.run("return mode.middleOf(argument);", [row, col])
        return canvas.pixels(x - side / 2, y - side / 2, side, side)

    assert stripes(area(5, 14, 4 * size)) > 8  # masked: a line every 6 px
    assert len(np.unique(area(15, 3, size - 4).reshape(-1, 3), axis=0)) == 1
    assert "masked" in canvas.run("return stage.legends.innerText;")
    canvas.run("mode.base.pyramid.tile.codes[19 * 20 + 2] = 0; mode.themed();")  # a weight of zero
    canvas.settle()
    (zero,) = np.unique(area(19, 2, size - 4).reshape(-1, 3), axis=0)
    first = canvas.run(
        "const c = mode.shading.ramp[0]; return [c & 255, c >> 8 & 255, c >> 16 & 255];"
    )
    assert zero.tolist() == first
    grid = look("mode=grid&n=64", scheme=scheme)
    x, y, w, h = grid.run("const a = mode.shown[0]; return [a.x, a.y, a.w, a.h];")
    assert stripes(grid.pixels(x + 0.7 * w, y + 0.1 * h, 0.28 * w, 0.15 * h)) >= 3
    assert "masked" in grid.run("return stage.legends.innerText;")
    assert "masked" not in look("mode=grid&kind=encoder&n=24").run(
        "return stage.legends.innerText;"
    )


def cap(canvas: CanvasOn, end: str) -> bool:
    """Whether the legend has an arrow at an end: there, its corners are empty."""
    corner, middle = canvas.run(
        """
        const bar = mode.legend.bar, ctx = bar.getContext("2d"), dpr = devicePixelRatio;
        const x = argument === "low" ? 2 * dpr : bar.width - 3 * dpr;
        const alpha = (y) => ctx.getImageData(x, y, 1, 1).data[3];
        return [alpha(2 * dpr), alpha(bar.height / 2)];
        """,
        end,
    )
    assert middle > 100  # the tip of an arrow, or the ramp
    return corner == 0


def test_a_scale_that_clips_draws_it_on_the_legend_and_says_it_of_the_cell(look):
    n = 64
    canvas, w = look(f"mode=map&n={n}"), weights_of(n)
    ends = "return [mode.legend.low.textContent, mode.legend.high.textContent];"
    assert canvas.run(ends)[0] == "0"
    assert not cap(canvas, "low") and not cap(canvas, "high")  # linear: from 0 to the largest
    canvas.page.get_by_role("button", name="Log").click()
    canvas.settle()
    low = canvas.run("return mode.shading.scale.low;")
    seen = w[np.tril_indices(n)]
    assert 0 < (seen < low * 0.998).mean() < 0.02
    assert canvas.run(ends)[0].startswith("< ") and canvas.run(ends)[0].endswith("%)")
    assert cap(canvas, "low") and not cap(canvas, "high")
    row, col = np.argwhere((w > 0) & (w < low * 0.99))[0].tolist()
    canvas.point(*canvas.middle(row, col))
    assert canvas.tip()["color"].startswith("below the scale")
    row, col = np.argwhere(w > low * 1.01)[0].tolist()
    canvas.point(*canvas.middle(row, col))
    assert "color" not in canvas.tip()
    canvas.page.get_by_role("button", name="Percentile").click()
    canvas.settle()
    assert not cap(canvas, "low")  # a rank is never cut off


def test_the_strip_and_the_grid_say_what_they_clip(look):
    strip = look("mode=strip&n=20")
    received = strip.run("return [...mode.codes].map((code) => mode.codec.values[code]);")
    assert cap(strip, "high") and strip.run("return mode.legend.high.textContent;").endswith(
        "(1 of 20)"
    )
    box = strip.run("return mode.boxOf(argument);", int(np.argmax(received)))
    strip.point(box["x"] + 5, box["y"] + 5)
    assert strip.tip()["color"].startswith("above the scale")
    grid = look("mode=grid&n=64")
    maps = [weights_of(64, layer=i, head=h) for i in range(3) for h in range(4)]
    share = np.mean([m[np.tril_indices(64)] < 1e-3 for m in maps])
    said = grid.run("return mode.legend.low.textContent;")
    assert said == ("0.001" if share == 0 else "< 0.001 (under 1%)" if share < 0.01 else said)
    assert cap(grid, "low") == (share > 0)


def test_long_texts_begin_on_a_logarithmic_scale(look):
    for mode, kind in (("map", "mode.shading.kind"), ("strip", "mode.scaleKind")):
        assert look(f"mode={mode}&n=60").run(f"return {kind};") == "linear"
        assert look(f"mode={mode}&n=300").run(f"return {kind};") == "log"
    page = look("mode=map&n=20")
    page.run("mode.shape = [300, 300]; mode._chooseScale(mode.header, mode.base);")
    assert page.run("return mode.shading.kind;") == "log"  # a longer text in the same canvas
    page.run("mode.shape = [20, 20]; mode._chooseScale(mode.header, mode.base);")
    assert page.run("return mode.shading.kind;") == "linear"
    page.page.get_by_role("button", name="Log").click()
    page.run("mode._chooseScale(mode.header, mode.base);")
    assert page.run("return mode.shading.kind;") == "log"  # chosen by hand: it stays
    assert look("mode=grid&n=300").run("return mode.colors.scale.low;") == pytest.approx(1e-4)


def test_the_rows_of_vectors_fill_the_pane(look):
    canvas = look("mode=matrix&n=14")
    right, bottom, width, height = canvas.run(
        "const v = mode.view; return [v.right, v.bottom, v.width, v.height];"
    )
    assert bottom == pytest.approx(height)
    assert right == pytest.approx(min(width, 16 * 80))  # px a cell at most
    k = canvas_app.trace_of("decoder", 14).attention(1, 2).k.numpy()
    for row, col in ((0, 0), (13, 15), (7, 4)):
        canvas.point(*canvas.middle(row, col))
        assert float(canvas.tip()["K"]) == pytest.approx(float(k[row, col]), rel=1e-5)


def test_scores_are_shown_to_their_last_digit(look):
    canvas = look("mode=map&n=64&quantity=scores")
    scores = canvas_app.trace_of("decoder", 64).attention(1, 2).scores().numpy()
    for row, col in ((5, 2), (40, 39), (63, 0)):
        canvas.point(*canvas.middle(row, col))
        text = canvas.tip()["score"]
        decimals = len(text.split(".")[1])
        assert decimals >= 3
        assert float(text) == pytest.approx(float(scores[row, col]), abs=0.5001 * 10**-decimals)
    canvas.point(*canvas.middle(5, 9))
    assert canvas.tip()["score"] == "masked"


# ---- grid --------------------------------------------------------------------------------------


def test_the_grid_names_sorts_filters_and_selects(look):
    canvas = look("mode=grid&n=64")
    metrics = head_metrics(canvas_app.trace_of("decoder", 64))
    assert canvas.run("return mode.shown.length;") == len(metrics) == 12
    titles = {"Entropy": "entropy", "Distance": "distance", "Induction": "induction"}
    titles |= {"Previous token": "previous", "Max weight": "max_weight"}
    for title, name in titles.items():
        canvas.page.get_by_label("Metric").select_option(label=title)
        for order, sign in (("Highest first", -1), ("Lowest first", 1)):
            canvas.page.get_by_label("Order").select_option(label=order)
            got = canvas.run("return mode.shown.map((h) => [h.layer, h.head]);")
            best = sorted(metrics, key=lambda m: sign * np.float32(getattr(m, name)))
            assert got == [[m.layer, m.head] for m in best], (title, order)
    canvas.page.get_by_label("Metric").select_option(label="Entropy")
    canvas.page.get_by_label("Hide heads below").fill("50")
    values = [m.entropy for m in metrics]
    least = (min(values) + max(values)) / 2
    assert canvas.run("return mode.shown.length;") == sum(v >= least for v in values)
    runs = canvas.said()["runs"]
    x, y = canvas.run("const h = mode.shown[0]; return [h.x + h.w / 2, h.y + h.h / 2];")
    canvas.point(x, y)
    layer, head = canvas.run("return [mode.shown[0].layer, mode.shown[0].head];")
    assert canvas.tip()[""] == f"Layer {layer}, head {head}"
    assert canvas.said()["runs"] == runs
    canvas.page.mouse.click(*(a + b for a, b in zip(canvas.box(), (x, y), strict=True)))
    canvas.wait_for("said.selected !== null")
    assert canvas.said()["selected"] == [layer, head]


def test_a_grid_that_the_browser_has_is_not_sent_again(look):
    canvas = look("mode=grid&n=64")

    def click(n: int) -> None:
        x, y = canvas.run("const h = mode.shown[argument]; return [h.x + 5, h.y + 5];", n)
        canvas.page.mouse.click(*(a + b for a, b in zip(canvas.box(), (x, y), strict=True)))
        head = canvas.run("return [mode.shown[argument].layer, mode.shown[argument].head];", n)
        canvas.wait_for(f"JSON.stringify(said.selected) === '{head}'.replaceAll(' ', '')")
        canvas.until("return JSON.stringify(mode.selected) === JSON.stringify(argument);", head)

    click(3)
    assert canvas.said()["runs"] == 2
    sent = "return root.attnviz.data.length;"
    canvas.until("return root.attnviz.data.length < 1000;")
    assert canvas.run("return mode.heads.length;") == 12
    # a browser that lost it says so, and gets it again
    canvas.run("""
        const { forgetGrids } = await import(
            performance.getEntriesByType("resource").find((e) => /gridheads/.test(e.name)).name);
        forgetGrids();
    """)
    click(5)
    canvas.until("return root.attnviz.data.length > 12 * 64 * 64;")
    assert canvas.run(sent) > 12 * 64 * 64
    assert canvas.run("return mode.heads.length;") == 12


def test_the_controls_of_a_narrow_grid_take_two_lines(look):
    canvas = look("mode=grid&n=24", width=372)  # 340 px of canvas
    lines = canvas.run(
        "const at = [...stage.tools.children, ...stage.common.children];"
        "return new Set(at.filter((one) => one.offsetParent).map((one) =>"
        " Math.round((one.getBoundingClientRect().top + one.getBoundingClientRect().bottom) / 20)))"
        ".size;"
    )
    assert lines == 2
    assert 330 <= canvas.run("return stage.width;") <= 345


def test_what_at_least_says_is_what_is_filtered(look):
    canvas = look("mode=grid&n=64")
    values = [m.entropy for m in head_metrics(canvas_app.trace_of("decoder", 64))]
    canvas.page.get_by_label("Metric").select_option(label="Entropy")
    for share in (50, 20):
        canvas.page.get_by_label("Hide heads below").fill(str(share))
        said = float(canvas.run("return mode.filter.shown.textContent;"))
        least = min(values) + share / 100 * (max(values) - min(values))
        assert said == pytest.approx(least, rel=0.01), share


def test_a_tooltip_does_not_stay_over_rearranged_heads(look):
    canvas = look("mode=grid&n=64")
    canvas.point(*canvas.run("const h = mode.shown[0]; return [h.x + 5, h.y + 5];"))
    assert canvas.tip()
    canvas.run("mode.order = 'down'; mode._arrange();")
    canvas.settle()
    assert not canvas.tip()
    assert canvas.run("return mode.hovered;") is None


def test_thumbnails_are_the_heads_own(look):
    canvas = look("mode=grid&n=64")
    for layer, head in ((0, 0), (2, 3)):
        w = weights_of(64, layer=layer, head=head)
        cells = canvas.run(
            "const h = mode.heads.find((h) => h.layer === argument[0] && h.head === argument[1]);"
            "return [...mode.content.cells.slice(h.at, h.at + 64 * 64)];",
            [layer, head],
        )
        shown = np.array(cells).reshape(64, 64)
        seen = np.tril_indices(64)
        order = np.argsort(w[seen])
        assert (np.diff(shown[seen][order]) >= 0).all()  # brighter is never less
        assert (shown[np.triu_indices(64, 1)] == 255).all()  # masked, and not zero


def test_kinds_stand_in_blocks_of_their_own(look):
    canvas = look("mode=grid&kind=encoder-decoder&n=24&height=470")
    headings = canvas.run("return mode.headings.map((h) => h.text.split(' · ')[0]);")
    assert headings == ["Encoder self-attention", "Decoder self-attention", "Cross-attention"]
    ends = canvas.run(
        "const by = {}; for (const h of mode.shown) (by[h.block.kind] ??= []).push(h.x);"
        "const ends = (v) => [Math.min(...v), Math.max(...v)];"
        "return Object.fromEntries(Object.entries(by).map(([k, v]) => [k, ends(v)]));"
    )
    assert ends["encoder"][1] < ends["decoder"][0] <= ends["decoder"][1] < ends["cross"][0]


@pytest.fixture(scope="module")
def place_by_layer(browser: Browser) -> Iterator[Callable[..., dict[str, Any]]]:
    """The layout alone, for models of any shape: the module as it lies on disk."""
    page = browser.new_page()
    scripts = Path(bundle.__file__).parent / "js"
    page.route(
        "http://canvas/**",
        lambda route: route.fulfill(
            body=(scripts / route.request.url.rsplit("/", 1)[1]).read_text(encoding="utf-8"),
            content_type="text/javascript",
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    )

    def place(kinds: int, layers: int, heads: int, width: int, height: int) -> dict[str, Any]:
        return page.evaluate(
            """async ([kinds, layers, heads, width, height]) => {
                const { layoutByLayer } = await import("http://canvas/gridlayout.js");
                const names = ["encoder", "decoder", "cross"].slice(0, kinds);
                const shape = { heads, rows: 64, cols: 64 };
                const blocks = names.flatMap((kind) =>
                    Array.from({ length: layers }, () => ({ kind, ...shape })));
                const all = blocks.flatMap((block) =>
                    Array.from({ length: heads }, (_, head) => ({ block, head })));
                const { shown, content, side, plan } =
                    layoutByLayer(all, blocks, width, height);
                return { content, side, plan, boxes: shown.map(({ x, y, w, h }) => [x, y, w, h]) };
            }""",
            [kinds, layers, heads, width, height],
        )

    yield place
    page.close()


SHAPES = [(1, 12, 12), (1, 30, 9), (1, 6, 12), (1, 24, 16), (1, 48, 25), (1, 2, 4), (1, 1, 1)]


@pytest.mark.parametrize("width", [1000, 640, 400])
@pytest.mark.parametrize("kinds, layers, heads", [*SHAPES, (3, 6, 8)])
def test_every_head_has_a_place_of_its_own(place_by_layer, kinds, layers, heads, width):
    got = place_by_layer(kinds, layers, heads, width, 380)
    x, y, w, h = np.array(got["boxes"]).T
    assert len(x) == kinds * layers * heads
    assert x.min() >= 0 and (x + w).max() <= width and (y + h).max() <= got["content"]
    cells = {(int(a), int(b)) for a, b in zip(x, y, strict=True)}
    assert len(cells) == len(x)
    for at, size in ((x, w), (y, h)):  # columns and rows leave room between them
        lines = np.unique(at)
        assert (np.diff(lines) > size.max()).all()
    assert got["side"] >= 24


@pytest.mark.parametrize(
    "kinds, layers, heads, least",
    [
        (1, 12, 12, 33),
        (1, 30, 9, 28),
        (1, 6, 12, 50),
        (1, 24, 16, 24),
        (1, 2, 4, 112),
        (3, 6, 8, 36),
    ],
)
def test_common_models_need_no_scrolling(place_by_layer, kinds, layers, heads, least):
    got = place_by_layer(kinds, layers, heads, 1000, 390)
    assert got["content"] <= 390
    assert got["side"] >= least


def test_a_short_picture_leaves_no_empty_box(look):
    grid = look("mode=grid&n=24&kind=encoder")
    room, content = grid.run("return [stage.height, mode.bottom];")
    assert room == pytest.approx(content, abs=1) and room < 500
    few = look("mode=lines&n=6")
    assert few.run("return [stage.height, mode.row];") == [26 + 6 * 32 + 8, 32]


def test_a_grid_that_must_be_scrolled_has_thumbnails_that_can_be_seen(place_by_layer):
    got = place_by_layer(1, 48, 25, 1000, 390)
    assert got["content"] > 390 and got["side"] >= 32
    assert max(x + w for x, _, w, _ in got["boxes"]) > 900


# ---- lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, layer", [("decoder", 1), ("encoder", 0), ("encoder-decoder", 5)])
def test_lines_are_the_weights_over_the_threshold(look, kind, layer):
    n = 20
    canvas = look(f"mode=lines&n={n}&kind={kind}&layer={layer}")
    trace = canvas_app.trace_of(kind, n)
    every = np.stack([trace.attention(layer, h).weights().numpy() for h in range(4)])
    for threshold in (0.02, 0.1, 0.3):
        shown = canvas.run(
            "mode.threshold = argument; stage.repaint();"
            "return mode.visibleLines().flatMap(({ head, lines }) => lines.map((l) =>"
            " [head.number, mode.queries[l], mode.keys[l], mode.codec.text(mode.codes[l])]));",
            threshold,
        )
        wanted = {
            (int(h), int(q), int(k)): as_shown(float(every[h, q, k]))
            for h, q, k in np.argwhere(every >= threshold)
        }
        got = {(h, q, k): text for h, q, k, text in shown}
        near = {at for at, text in got.items() if float(text) == pytest.approx(threshold, abs=1e-4)}
        assert {a: t for a, t in got.items() if a not in near} == {
            a: t for a, t in wanted.items() if a not in near
        }
        assert len(got) == len(shown)  # each once


def test_a_token_is_alone_while_it_is_hovered_or_held(look):
    canvas = look("mode=lines&n=40")
    runs = canvas.said()["runs"]
    x = canvas.run("return mode._x0;") - 30
    canvas.point(x, canvas.run("return mode._y(7);"))
    canvas.settle()
    queries = """
        const lines = mode.visibleLines().flatMap((some) => some.lines);
        return [...new Set(lines.map((line) => mode.queries[line]))];
    """
    assert canvas.run(queries) == [7]
    assert canvas.tip()["query"].startswith("7 · ")
    assert canvas.said()["runs"] == runs
    canvas.page.mouse.down()
    canvas.page.mouse.up()
    canvas.wait_for("said.token !== null")
    assert canvas.said()["token"] == ["row", 7]
    canvas.page.mouse.move(1, 1)
    canvas.settle()
    assert canvas.run(queries) == [7]
    canvas.run("stage.picture.focus();")
    canvas.page.keyboard.press("Escape")
    canvas.wait_for("said.token === null")
    assert len(canvas.run(queries)) > 5


def test_a_long_text_draws_what_is_on_screen(look):
    canvas = look("mode=lines&n=600")
    assert canvas.run("return stage.scroll.scrollHeight;") > 600 * 15
    canvas.run("mode.threshold = 0.05; stage.repaint();")
    canvas.settle()
    first = canvas.run(
        "const [a, b] = mode._window(mode.rows.length);"
        "const all = mode.visibleLines().flatMap((some) => some.lines);"
        "const near = all.every((l) => mode.queries[l] < b || mode.keys[l] < b);"
        "return [b, mode.keys.length, all.length, near];"
    )
    assert first[0] < 60 and first[2] < first[1] and first[3]
    canvas.point(300, 300)
    canvas.page.mouse.wheel(0, 6000)
    canvas.until("return mode._window(mode.rows.length)[0] > 200;")


def test_heads_are_hidden_by_their_chips_and_svg_holds_text(look):
    canvas = look("mode=lines&n=20")
    heads = "return mode.visibleLines().map((x) => x.head.number);"
    assert canvas.run(heads) == [0, 1, 2, 3]
    canvas.page.get_by_role("button", name="2", exact=True).click()
    assert canvas.run(heads) == [0, 1, 3]
    canvas.page.get_by_role("button", name="1", exact=True).dblclick()
    assert canvas.run(heads) == [1]
    text = canvas.save("SVG")[1].decode("utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;" in text and "<img" not in text
    assert "中文" in text and "שלום" in text and "👩‍🚀" in text
    assert re.search(r"<path d=\"M", text)


def test_of_twelve_heads_six_have_hues_and_any_can_be_raised(look):
    canvas = look("mode=lines&n=20&kind=gpt2")
    colors = "return mode.heads.map((head) => mode.colorOf(head));"
    before = canvas.run(colors)
    assert len(set(before)) == 7 and len(set(before[:6])) == 6
    assert "6 heads share gray" in canvas.run("return stage.note.textContent;")
    for i in range(5):
        canvas.page.get_by_role("button", name=str(i), exact=True).click()
    canvas.settle()
    after = canvas.run(colors)
    assert after[5] == before[5] and len(set(after[5:])) == 7  # no two alike: hues were free
    assert "gray" not in canvas.run("return stage.note.textContent;")
    canvas.page.get_by_role("button", name="9", exact=True).hover()
    canvas.settle()
    assert canvas.run("return mode.raised;") == 9
    canvas.page.mouse.move(2, 2)
    canvas.settle()
    assert canvas.run("return mode.raised;") is None
    canvas.page.get_by_role("button", name="7", exact=True).focus()
    canvas.page.keyboard.press("Shift+Enter")
    assert canvas.run("return mode.visibleLines().map((x) => x.head.number);") == [7]


@pytest.mark.parametrize("mode", ["lines", "neuron"])
def test_keys_keep_their_place_while_the_picture_scrolls(look, mode):
    canvas = look(f"mode={mode}&n=120")
    canvas.run("stage.scroll.scrollTop = 0; stage.picture.focus();")
    canvas.settle()
    for _ in range(70):
        canvas.page.keyboard.press("ArrowDown")
        canvas.settle()
    at = canvas.run("return mode.hovered.index >= 0 ? mode.hovered.index : mode.hovered.row;")
    assert at == 69
    assert canvas.run("return stage.top;") > 300
    assert canvas.tip()["query" if mode == "lines" else "key"].startswith("69 · ")
    canvas.point(5, 200)  # the mouse takes over
    canvas.page.mouse.move(2, 2)
    assert canvas.run("return mode.hovered;") is None


# ---- neuron ------------------------------------------------------------------------------------


def test_neuron_shows_the_products_the_sum_the_score_and_the_weight(look):
    canvas = look("mode=neuron&n=64")
    a = canvas_app.trace_of("decoder", 64).attention(1, 2)
    q, k = a.q.numpy().astype(float), a.k.numpy().astype(float)
    runs = canvas.said()["runs"]
    canvas.page.get_by_role("spinbutton", name="Query").fill("30")
    canvas.page.get_by_role("spinbutton", name="Query").press("Enter")
    canvas.settle()
    canvas.run("stage.scroll.scrollTop = 0;")
    canvas.settle()
    for key, dim in ((4, 3), (12, 9)):
        x, y = canvas.run(
            "const x = mode.px + (argument[1] + 0.5) * mode.strip / mode.width;"
            "return [x, 92 + (argument[0] + 0.5) * 22];",
            [key, dim],
        )
        canvas.point(x, y)
        tip = canvas.tip()
        assert float(tip["product"]) == pytest.approx(q[30, dim] * k[key, dim], rel=1e-3)
        assert float(tip["Σ q∘k"]) == pytest.approx(float(q[30] @ k[key]), abs=1e-3)
        assert float(tip["score"]) == pytest.approx(float(a.scores()[30, key]), abs=1e-3)
        assert tip["weight"] == as_shown(float(a.weights()[30, key]))
    canvas.wait_for(f"said.runs > {runs}")  # the page is told which query, once
    assert canvas.said()["query"] == 30


def test_a_long_text_fetches_the_query_that_is_chosen(look):
    canvas = look("mode=neuron&n=800")
    assert canvas.run("return mode.header.queries;") == [799, 800]
    canvas.page.get_by_role("spinbutton", name="Query").fill("420")
    canvas.page.get_by_role("spinbutton", name="Query").press("Enter")
    canvas.wait_for("said.query === 420")
    canvas.run(f"while (mode.query !== 420) {{ {SOON} }}")
    a = canvas_app.trace_of("decoder", 800).attention(1, 2)
    text = canvas.run("return mode.texts(17).weight;")
    assert text == as_shown(float(a.weights(slice(420, 421))[0, 17]))


# ---- all of them -------------------------------------------------------------------------------

MODES = ("grid", "map", "lines", "neuron")


@pytest.mark.parametrize("mode", MODES)
def test_odd_tokens_show_as_themselves_and_never_as_markup(look, mode):
    canvas = look(f"mode={mode}&n=40")
    canvas.page.on("dialog", lambda dialog: pytest.fail(f"a token ran as script: {dialog.message}"))
    canvas.page.get_by_role("button", name="Show the numbers on screen as a table").click()
    assert canvas.run("return root.querySelectorAll('img, script').length;") == 0
    table = canvas.run("return root.querySelector('table').innerText;")
    if mode == "grid":
        assert "Layer 2, head 3" in table
        return
    drawn = canvas.run("""
        const texts = []; const own = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
            texts.push(text);
            own.call(this, text, ...at);
        };
        stage.scroll.scrollTop = 0;
        if (mode.view) mode.zoom(2.2, mode.left, mode.head);
        stage.repaint();
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        CanvasRenderingContext2D.prototype.fillText = own;
        return texts;
    """)
    for token in ("שלום", "中文", "👩‍🚀", "↵"):
        assert token in drawn and token in table, token
    assert (
        any(text.startswith("<img") for text in drawn) and "<img src=x onerror=alert(1)>" in table
    )


@pytest.mark.parametrize("mode", MODES)
def test_dark_theme_sharpness_and_size(look, visit, mode):
    canvas = look(f"mode={mode}&n=40", scheme="dark", width=900)
    background, dark = canvas.run("return [stage.theme.background, stage.theme.dark];")
    assert dark is True
    corner = canvas.run(
        "const ctx = stage.picture.getContext('2d');"
        "return [...ctx.getImageData(1, stage.picture.height - 2, 1, 1).data];"
    )
    assert sum(corner[:3]) < 120, background
    width = canvas.run("return stage.width;")
    canvas.page.set_viewport_size({"width": 700, "height": 800})
    canvas.until("return stage.width < argument;", width)
    canvas.settle()
    ratio = canvas.run("return [stage.picture.width / stage.width, window.devicePixelRatio];")
    assert ratio[0] == pytest.approx(ratio[1], abs=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_keys_reach_it_and_it_says_what_it_is(look, mode):
    canvas = look(f"mode={mode}&n=40")
    label = canvas.run("return stage.picture.getAttribute('aria-label');")
    assert len(label) > 40
    canvas.run("stage.picture.focus();")
    canvas.page.keyboard.press("ArrowDown")
    canvas.page.keyboard.press("ArrowDown")
    assert canvas.run("return stage.live.textContent;")
    assert canvas.save("PNG, 2x")[1][:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("mode", MODES)
def test_a_saved_page_opens_offline(browser, tmp_path, mode):
    trace = canvas_app.trace_of("decoder", 20)
    payload = {
        "grid": lambda: grid_payload(trace),
        "map": lambda: map_payload(trace, 1, 2),
        "lines": lambda: lines_payload(trace, 1),
        "neuron": lambda: neuron_payload(trace, 1, 2),
    }[mode]()
    told = {"source": "tiny · “<b>The</b> cat”", "receipt": "Checked in all 20 rows."}
    text = as_html(payload, "Heads <of> a model", **told)
    assert text.count("<script") == 1 and text.count("</script>") == 1
    file = tmp_path / "saved.html"
    file.write_text(text, encoding="utf-8")
    context = browser.new_context(offline=True, color_scheme="dark")
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(file.as_uri())
    page.wait_for_function(
        "() => document.querySelector('.canvas-root').attnviz?.stage.painted > 0"
    )
    assert page.title() == page.locator("h1").inner_text() == "Heads <of> a model"
    assert page.locator("body > p").all_inner_texts() == list(told.values())
    got = page.evaluate("() => document.querySelector('.canvas-root').attnviz.modeName")
    assert (got, problems) == (mode, [])
    context.close()
