"""A training as a small picture to choose it by: its loss, and a head's map at its end."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from attnviz.charts.palettes import CATEGORIES, RAMPS, Theme

WIDTH, HEIGHT = 216, 76  # px
MAP = 72  # px a side
EDGE = 2


def run_picture(losses: Sequence[float], weights: np.ndarray | None, theme: Theme) -> str:
    """An SVG image.

    Args:
        losses: of the training, in the order of steps; NaN is left out.
        weights: (r, c), drawn in the colors of maps, from 0 to the largest; None before there
            are any.
        theme: of the page that it stands on.
    """
    line, map_image = CATEGORIES[theme][0], ""
    right = WIDTH - EDGE
    if weights is not None and weights.size:
        right -= MAP + 12
        rows, cols = weights.shape
        cell = MAP / max(rows, cols)
        png = f"data:image/png;base64,{_png(weights, theme)}"
        map_image = (
            f'<image x="{WIDTH - MAP - EDGE}" y="{EDGE}" width="{cell * cols:.1f}" '
            f'height="{cell * rows:.1f}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="{png}"/>'
        )
    points = _points(losses, right)
    curve = (
        f'<polyline points="{points}" fill="none" stroke="{line}" stroke-width="2" '
        'stroke-linejoin="round"/>'
        if points
        else ""
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}">{curve}{map_image}</svg>'
    )


def _points(losses: Sequence[float], right: float) -> str:
    """The curve, from 0 to the largest loss."""
    known = [(i, loss) for i, loss in enumerate(losses) if math.isfinite(loss)]
    top = max((loss for _, loss in known), default=0.0)
    if len(known) < 2 or top <= 0:
        return ""
    last = known[-1][0]
    low, high = HEIGHT - EDGE - 2, EDGE + 2
    return " ".join(
        f"{EDGE + i / last * (right - EDGE):.1f},{low - loss / top * (low - high):.1f}"
        for i, loss in known
    )


def _png(weights: np.ndarray, theme: Theme) -> str:
    """The map as a PNG of one pixel a cell, in base64."""
    stops = np.array(
        [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in RAMPS[theme]["sequential"]]
    )
    some = np.nan_to_num(weights).clip(min=0)
    at = some / max(float(some.max()), 1e-9) * (len(stops) - 1)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    pixels = np.stack(channels, axis=-1).round().astype(np.uint8)  # (r, c, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
