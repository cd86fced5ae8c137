"""Saved pictures, opened and read: SVG as XML, PNG as pixels, against the backend's numbers."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from attnviz.charts.palettes import RAMPS
from tests.browser.apps import canvas_app

SVG = "{http://www.w3.org/2000/svg}"
SOURCE = "tiny · “"
LIGHT = (255, 255, 255)

# What each view's picture says: title, axes, legend, a token.
SAYS = {
    "map": (
        "Layer 1, head 2: weights",
        ["key →", "← query", "weights, linear scale", "0", "1", "naïve"],
    ),
    "lines": ("Layer 1: lines", ["query", "key", "head", "0", "3", "naïve"]),
    "neuron": (
        "Layer 1, head 2: query 19 ↵",
        ["k of each key, 16 dimensions", "Σ q∘k", "score", "weight", "naïve"],
    ),
    "strip": ("Layer 1, head 2: tokens", ["Attention received", "naïve", "19"]),
    "grid": ("All heads", ["weight, log scale", "1", "0", "2", "masked"]),
    "matrix": ("Keys <of> a head", ["dimension →", "K, linear scale", "naïve"]),
}


def texts_of(root: ElementTree.Element) -> list[str]:
    return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("mode", SAYS)
def test_an_svg_says_what_it_shows(look, mode: str):
    canvas = look(f"mode={mode}&n=20", scheme="dark")
    name, content = canvas.save("SVG")
    root = ElementTree.fromstring(content)
    title, said = SAYS[mode]
    assert name == re.sub("[^a-z0-9]+", "-", title.lower()).strip("-") + ".svg"
    assert root.find(f"{SVG}title").text == title
    texts = texts_of(root)
    assert texts[0] == title
    assert texts[1].startswith(SOURCE) and canvas_app.ODD[0] in texts[1]
    assert set(said) <= set(texts)
    ground = root.find(f"{SVG}rect")
    assert ground.get("fill") == "#ffffff"  # light, although the page is dark
    assert (ground.get("width"), ground.get("height")) == (root.get("width"), root.get("height"))


@pytest.mark.parametrize("mode", SAYS)
def test_a_png_has_the_pixels_asked_for_and_the_svgs_size(look, mode: str):
    canvas = look(f"mode={mode}&n=20", scheme="dark")
    root = ElementTree.fromstring(canvas.save("SVG")[1])
    size = int(root.get("width")), int(root.get("height"))
    for scale in (2, 3):
        name, content = canvas.save(f"PNG, {scale}x")
        assert name.endswith(f"-{scale}x.png")
        picture = pixels(content)
        assert (picture.shape[1], picture.shape[0]) == (size[0] * scale, size[1] * scale)
        assert tuple(picture[2, 2]) == LIGHT
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20  # something is drawn


def color_of(weight: float) -> np.ndarray:
    """The light sequential scale at a weight, between its stops."""
    stops = np.array(
        [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in RAMPS["light"]["sequential"]]
    )
    at = weight * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    return stops[low] + (at - low) * (stops[low + 1] - stops[low])


def test_the_cells_of_a_map_have_the_colors_of_the_backends_numbers(look):
    n = 20
    canvas = look(f"mode=map&n={n}", scheme="dark")
    w = canvas_app.trace_of("decoder", n).attention(1, 2).weights().numpy()
    root = ElementTree.fromstring(canvas.save("SVG")[1])
    (image,) = root.iter(f"{SVG}image")
    embedded = Image.open(io.BytesIO(base64.b64decode(image.get("href").split(",")[1])))
    cells = np.asarray(embedded.convert("RGBA"))
    step = cells.shape[0] // n
    assert cells.shape == (n * step, n * step, 4)
    scale = 3
    png = pixels(canvas.save(f"PNG, {scale}x")[1])
    left, top = plot_corner(image, root)
    pitch = float(image.get("width")) / n
    for row in range(n):
        for col in range(n):
            cell = cells[row * step + step // 2, col * step + step // 2]
            x, y = (left + (col + 0.5) * pitch) * scale, (top + (row + 0.5) * pitch) * scale
            if col > row:  # masked
                assert cell[3] == 0
                continue
            expected = color_of(float(w[row, col]))
            assert np.abs(cell[:3] - expected).max() <= 4, (row, col)  # a step of the scale's 256
            assert np.abs(png[int(y), int(x)] - expected).max() <= 4, (row, col)


def plot_corner(image: ElementTree.Element, root: ElementTree.Element) -> tuple[float, float]:
    """Where an image begins in the picture."""
    *_, x, y = map(float, re.findall(r"-?[\d.]+", image.get("transform")))
    return x + float(image.get("x")), y + float(image.get("y"))


def test_a_picture_holds_all_of_a_view_that_scrolls(look):
    canvas = look("mode=neuron&n=60&height=400")
    canvas.run("stage.scroll.scrollTop = 300; mode.hovered = null;")
    canvas.settle()
    painted = canvas.run("return [stage.height, stage.theme.background];")
    texts = texts_of(ElementTree.fromstring(canvas.save("SVG")[1]))
    assert {str(i) for i in range(60)} <= set(texts)
    assert canvas.run("return [stage.height, stage.theme.background];") == painted
    assert canvas.run("return stage.top;") == 300


def test_the_menu_is_reached_and_left_by_keys_and_stays_on_compact_toolbars(look):
    canvas = look("mode=map&n=20&compact")
    button = canvas.page.get_by_role("button", name="Save the picture")
    assert canvas.page.get_by_role("button", name="Show the numbers").count() == 0
    button.focus()
    canvas.page.keyboard.press("Enter")
    canvas.page.get_by_role("menu", name="Save the picture").wait_for()
    canvas.until("return root.getRootNode().activeElement.textContent === 'PNG, 2x';")
    canvas.page.keyboard.press("ArrowDown")
    canvas.page.keyboard.press("ArrowDown")
    assert canvas.run("return root.getRootNode().activeElement.textContent;") == "SVG"
    with canvas.page.expect_download() as download:
        canvas.page.keyboard.press("Enter")
    assert download.value.suggested_filename == "layer-1-head-2-weights.svg"
    button.focus()
    canvas.page.keyboard.press("Enter")
    canvas.page.get_by_role("menu", name="Save the picture").wait_for()
    canvas.page.keyboard.press("Escape")
    canvas.page.get_by_role("menu", name="Save the picture").wait_for(state="hidden")


def test_a_figure_has_the_legends_arrow_and_hatching(look):
    canvas = look("mode=map&n=64", scheme="dark")
    canvas.page.get_by_role("button", name="Log").click()
    canvas.settle()
    root = ElementTree.fromstring(canvas.save("SVG")[1])
    texts = texts_of(root)
    (low,) = [text for text in texts if text.startswith("< ")]
    assert low == canvas.run("return mode.legend.low.textContent;")
    assert "masked" in texts
    paths = [node.get("d") for node in root.iter(f"{SVG}path")]
    arrows = [path for path in paths if re.fullmatch(r"M\S+ \S+(L\S+ \S+){3}", path)]
    assert len(arrows) == 2  # one arrow, filled and outlined
    hatched = [path.count("M") for path in paths if path.count("M") > 1]
    assert len(hatched) == 2  # the swatch, and behind the map
    assert max(hatched) > 100 and min(hatched) >= 2
    linear = ElementTree.fromstring(look("mode=matrix&n=20").save("SVG")[1])
    assert "masked" not in texts_of(linear)


def test_a_dark_picture_is_there_for_dark_slides(look):
    canvas = look("mode=grid&n=20")
    canvas.page.get_by_role("button", name="Save the picture").click()
    canvas.page.get_by_label("Dark background").check()
    canvas.page.keyboard.press("Escape")
    picture = pixels(canvas.save("PNG, 2x")[1])
    assert tuple(picture[2, 2]) == (0x10, 0x15, 0x1B)
