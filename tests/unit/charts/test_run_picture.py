"""The small picture of a run: its curve and its map are the numbers'."""

from __future__ import annotations

import base64
import io
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from attnviz.charts.palettes import CATEGORIES, RAMPS
from attnviz.charts.run_picture import HEIGHT, WIDTH, run_picture

SVG = "{http://www.w3.org/2000/svg}"


def test_the_curve_falls_as_the_loss_does() -> None:
    root = ElementTree.fromstring(run_picture([4.0, math.nan, 2.0, 1.0, 0.0], None, "light"))
    (line,) = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split(" ")]
    assert len(points) == 4  # NaN is left out
    xs, ys = zip(*points, strict=True)
    assert all(0 <= x <= WIDTH for x in xs)
    assert all(0 <= y <= HEIGHT for y in ys)
    heights = [ys[-1] - y for y in ys]
    assert [h / heights[0] for h in heights] == pytest.approx([1, 0.5, 0.25, 0], abs=0.01)
    assert line.attrib["stroke"] == CATEGORIES["light"][0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_map_has_the_colors_of_maps(theme: str) -> None:
    weights = np.array([[0.0, 0.5], [0.25, 0.0], [0.0, 0.0]])
    svg = run_picture([1.0, 0.5], weights, theme)  # type: ignore[arg-type]
    (image,) = ElementTree.fromstring(svg).iter(f"{SVG}image")
    assert float(image.attrib["height"]) > float(image.attrib["width"])
    data = re.sub("^data:image/png;base64,", "", image.attrib["href"])
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    ramp = RAMPS[theme]["sequential"]  # type: ignore[index]
    rgb = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in ramp]
    assert pixels.shape == (3, 2, 3)
    assert pixels[0, 0].tolist() == rgb[0]
    assert pixels[0, 1].tolist() == rgb[-1]  # the largest
    assert pixels[1, 0].tolist() == rgb[3]  # half of it, in the middle of seven


def test_without_a_curve_or_a_map_there_is_an_empty_picture() -> None:
    root = ElementTree.fromstring(run_picture([], None, "light"))
    assert list(root) == []
