"""Attention on an image in a real Chromium: its pixels against the backend's numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from attnviz.canvas import as_html, image_payload
from attnviz.canvas.codecs import as_shown
from attnviz.charts.palettes import RAMPS
from tests.browser.apps.canvas_app import image_trace
from tests.browser.canvas_page import CanvasOn

TRACE = image_trace()
GRID, FIRST = 4, 1
SVG = "{http://www.w3.org/2000/svg}"
CLS = 0
A_STEP = 4  # of 255: a step of the scale's 256, and rounding
CENTERS = """
    const ctx = stage.picture.getContext("2d"), dpr = stage.dpr;
    return [...Array(16).keys()].map((p) => {
        const [x, y] = mode.middleOf(1 + p);
        const at = [x + 2, y + 3].map((v) => Math.round(v * dpr));
        return [...ctx.getImageData(...at, 1, 1).data];
    });
"""


@pytest.fixture
def on_image(look) -> Callable[..., CanvasOn]:
    return lambda **how: look("mode=image", **how)


def row_of(query: int, layer: int = 1, head: int = 2) -> np.ndarray:
    return TRACE.attention(layer, head).weights().numpy()[query]


def color_of(share: float) -> np.ndarray:
    """The dark sequential scale, which is an image's in every theme."""
    stops = np.array(
        [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in RAMPS["dark"]["sequential"]]
    )
    at = share * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    return stops[low] + (at - low) * (stops[low + 1] - stops[low])


def set_overlay(canvas: CanvasOn, percent: int) -> None:
    slider = canvas.page.get_by_role("slider", name="Overlay")
    slider.fill(str(percent))
    canvas.settle()


def assert_colors(canvas: CanvasOn, numbers: np.ndarray, low: float, high: float) -> None:
    set_overlay(canvas, 100)
    shown = np.array(canvas.run(CENTERS))[:, :3]
    for p, value in enumerate(numbers):
        expected = color_of((value - low) / (high - low))
        assert np.abs(shown[p] - expected).max() <= A_STEP, (p, shown[p], expected)


def ends_of_the_legend(canvas: CanvasOn) -> list[str]:
    return canvas.page.locator(".legend").first.locator("> span").all_inner_texts()[:2]


def token(row: int, column: int) -> int:
    return FIRST + row * GRID + column


def hover(canvas: CanvasOn, at: int) -> None:
    canvas.point(*canvas.run("return mode.middleOf(argument);", at))
    canvas.settle()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_patch_has_the_color_of_the_backends_weight(on_image, scheme: str):
    canvas = on_image(scheme=scheme)
    patches = row_of(CLS)[FIRST:]
    assert_colors(canvas, patches, 0, float(patches.max()))
    legend = ends_of_the_legend(canvas)
    assert legend[0] == "0" and float(legend[1]) == pytest.approx(float(patches.max()), rel=5e-3)


def test_without_the_overlay_it_is_the_models_own_pixels(on_image):
    canvas = on_image()
    set_overlay(canvas, 0)
    [x, y, w, h] = canvas.run("return mode.boxes.seen;")
    shown = canvas.run(
        """const ctx = stage.picture.getContext("2d"), [x, y, w, h] = argument, dpr = stage.dpr;
        return [...Array(64).keys()].map((i) => [...ctx.getImageData(
            Math.round((x + (i % 8 + 0.6) * w / 8) * dpr),
            Math.round((y + (Math.floor(i / 8) + 0.6) * h / 8) * dpr), 1, 1).data].slice(0, 3));""",
        [x, y, w, h],
    )
    assert TRACE.image is not None
    assert np.array_equal(np.array(shown).reshape(8, 8, 3), TRACE.image.seen)


@pytest.mark.parametrize("scale", ["contrast", "head", "share"])
def test_a_scale_spans_what_its_legend_says(on_image, scale: str):
    canvas = on_image()
    canvas.page.get_by_role("combobox", name="Color scale").select_option(scale)
    patches = row_of(CLS)[FIRST:]
    every = TRACE.attention(1, 2).weights().numpy()[:, FIRST:]
    numbers = patches / patches.sum() if scale == "share" else patches
    low = float(patches.min()) if scale == "contrast" else 0.0
    high = float(every.max()) if scale == "head" else float(numbers.max())
    legend = [
        float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
        for text in ends_of_the_legend(canvas)
    ]
    assert legend == pytest.approx([low, high], rel=5e-3)
    assert_colors(canvas, numbers, low, high)


def test_smoothing_is_asked_for_and_keeps_a_patchs_middle(on_image):
    canvas = on_image()
    patches = row_of(CLS)[FIRST:]
    pixels = "const o = mode.overlay(); return [o.width, o.height];"
    assert canvas.run(pixels) == [GRID, GRID]
    canvas.page.get_by_role("button", name="Smooth").click()
    canvas.settle()
    steps = canvas.run(pixels)[0] // GRID
    assert steps > 1
    middle = canvas.run(
        "return [...mode.overlay().getContext('2d').getImageData(argument, argument, 1, 1).data];",
        steps + steps // 2,
    )
    share = float(patches[GRID + 1] / patches.max())  # patch (1, 1), half a step from its middle
    assert np.abs(np.array(middle[:3]) - color_of(share)).max() <= 40
    assert "Smoothed" in canvas.run("return stage.note.textContent;")


def test_a_hovered_patch_shows_its_own_row_and_no_server_hears_of_it(on_image):
    canvas = on_image()
    runs = canvas.said()["runs"]
    at = token(2, 1)
    hover(canvas, at)
    row = row_of(at)
    tip = canvas.tip()
    assert tip["query"] == tip["key"] == "patch (2, 1)"
    assert tip["weight"] == as_shown(float(row[at]))
    assert tip["from [CLS]"] == as_shown(float(row_of(CLS)[at]))
    canvas.run("mode.hovered = argument;", at)
    assert_colors(canvas, row[FIRST:], 0, float(row[FIRST:].max()))
    assert canvas.said()["runs"] == runs


def test_a_click_keeps_a_patch_and_hovering_reads_its_weights(on_image):
    canvas = on_image()
    at = token(1, 3)
    hover(canvas, at)
    x, y = canvas.run("return mode.middleOf(argument);", at)
    left, top = canvas.box()
    canvas.page.mouse.click(left + x, top + y)
    canvas.wait_for(f"said.token && said.token[1] === {at} && said.token[0] === 'row'")
    canvas.settle()
    row = row_of(at)
    for key in (token(0, 0), token(3, 2), CLS):
        hover(canvas, key)
        tip = canvas.tip()
        assert tip["query"] == "patch (1, 3)" and tip["weight"] == as_shown(float(row[key]))
        if key != CLS:
            share = float(tip["share of the patches"].rstrip("%")) / 100
            assert share == pytest.approx(float(row[key] / row[FIRST:].sum()), rel=6e-3)
    canvas.page.mouse.move(1, 1)
    assert_colors(canvas, row[FIRST:], 0, float(row[FIRST:].max()))
    canvas.run("stage.picture.focus();")
    canvas.page.keyboard.press("Escape")
    canvas.wait_for("said.token === null")


def test_arrow_keys_move_over_the_patches_and_say_them(on_image):
    canvas = on_image()
    canvas.run("stage.picture.focus();")
    for key, expected in (
        ("ArrowDown", token(0, 0)), ("ArrowRight", token(0, 1)), ("ArrowDown", token(1, 1)),
        ("ArrowLeft", token(1, 0)), ("ArrowLeft", token(1, 0)), ("ArrowUp", token(0, 0)),
        ("ArrowUp", CLS), ("ArrowDown", token(0, 0)),
    ):  # fmt: skip
        canvas.page.keyboard.press(key)
        assert canvas.run("return mode.hovered;") == expected, key
    assert "patch (0, 0)" in canvas.run("return stage.live.textContent;")
    canvas.page.keyboard.press("Enter")
    canvas.wait_for(f"said.token && said.token[1] === {token(0, 0)}")


def test_both_pictures_have_the_patch_where_it_comes_from(on_image):
    canvas = on_image()
    given, seen = canvas.run("return [mode.boxes.given, mode.boxes.seen];")
    assert given[2] / given[3] == pytest.approx(10 / 12, rel=0.02)
    for row, column in ((0, 0), (3, 1), (2, 3)):
        for x, y, w, h in (given, seen):  # nothing is cropped: a quarter is a quarter
            canvas.point(x + (column + 0.5) * w / GRID, y + (row + 0.5) * h / GRID)
            assert canvas.run("return mode.hovered;") == token(row, column)
    words = canvas.run("return mode.words;")
    assert "Not cropped." in words and "Stretched: × 0.8 in width, × 0.667 in height." in words


def test_the_other_canvases_light_up_and_light_it(look):
    canvas = look("together&kind=image")
    page = canvas.page
    find = """const [image, map, strip] = [...document.querySelectorAll(
        '[data-testid="stBidiComponentIsolated"]')]
        .map((h) => h.shadowRoot?.querySelector('.canvas-root')?.attnviz?.mode);"""
    page.wait_for_function(
        f"() => {{ {find} return [image, map, strip].every((m) => m?.stage.painted); }}"
    )
    at = token(2, 2)
    hover(canvas, at)
    lit = page.evaluate(f"() => {{ {find} return [map.lit, strip.lit]; }}")
    for one in lit:
        assert one["query"]["index"] == at and one["key"] is None  # its row is what is shown
    x, y = page.evaluate(
        f"(cell) => {{ {find} map.stage.root.scrollIntoView({{block: 'center'}});"
        "const b = map.stage.picture.getBoundingClientRect(), [x, y] = map.middleOf(cell);"
        " return [b.left + x, b.top + y]; }",
        [5, 9],
    )
    page.mouse.move(x + 1, y + 1)
    page.mouse.move(x, y)
    assert page.evaluate(f"() => {{ {find} return [image.query, image.lit.key.index]; }}") == [5, 9]
    assert canvas.said()["runs"] == 1


def test_saved_pictures_hold_the_words_the_legend_and_the_colors(on_image):
    canvas = on_image(scheme="dark")
    set_overlay(canvas, 100)
    patches = row_of(CLS)[FIRST:]
    name, svg = canvas.save("SVG")
    assert name.startswith("layer-1-head-2") and name.endswith(".svg")
    root = ElementTree.fromstring(svg)
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert "As given" in texts and "[CLS] → patches" in texts and "weight" in texts
    assert as_shown(float(row_of(CLS)[CLS])) in texts
    assert any("4 × 4 patches of 2 × 2 px" in text for text in texts)
    assert len(list(root.iter(f"{SVG}image"))) == 3  # as given, as the model got it, the overlay
    png = np.asarray(Image.open(io.BytesIO(canvas.save("PNG, 2x")[1])).convert("RGB"))
    overlay = list(root.iter(f"{SVG}image"))[2]
    matrix = [float(v) for v in overlay.get("transform", "").strip("matrix()").split()]
    x, y, w, h = (float(overlay.get(side, "0")) for side in ("x", "y", "width", "height"))
    for p, value in enumerate(patches):
        row, column = divmod(p, GRID)
        at = (
            round(2 * (matrix[4] + x + (column + 0.55) * w / GRID)),
            round(2 * (matrix[5] + y + (row + 0.55) * h / GRID)),
        )
        expected = color_of(float(value / patches.max()))
        assert np.abs(png[at[1], at[0]] - expected).max() <= A_STEP, p


def test_one_html_file_has_it_all_offline(browser: Browser, tmp_path: Path):
    file = tmp_path / "image.html"
    file.write_text(as_html(image_payload(TRACE, 1, 2), "Image of layer 1, head 2"), "utf-8")
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_function("() => document.querySelector('.canvas-root')?.attnviz?.stage.painted")
    state: Any = page.evaluate(
        """() => { const { mode } = document.querySelector('.canvas-root').attnviz;
        mode.keep(7); return [mode.query, [...mode.row.weights]]; }"""
    )
    assert state[0] == 7
    np.testing.assert_allclose(state[1], row_of(7), rtol=5.0001e-4, atol=1e-7)
    assert asked == [file.as_uri()]
    page.close()
