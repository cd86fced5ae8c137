"""Colours: one sequential and one diverging palette, and one for categories.

Each ramp exists twice, for light and for dark pages: small values lie near the page's own colour
and large ones stand out. Which of the two is drawn is decided where the picture is drawn, from the
brightness of the background there, so a chart follows a change of theme and needs to know nothing
of it. Lightness rises or falls monotonically along each ramp, and the diverging pair is blue and
orange, which people with any of the common colour-vision deficiencies can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

Palette = Literal["sequential", "diverging"]
Domain = tuple[float, float]

_DARK: Final = "luminance(background) < 0.4"

# (on a light page, on a dark page), from the smallest value to the largest
_RAMPS: Final[dict[Palette, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "sequential": (
        ("#f4f7fa", "#cfe3ee", "#93c6dd", "#4a9fc4", "#1b6fa4", "#0f4277", "#0b1f46"),
        ("#151b26", "#173a5e", "#1b5f8c", "#2f8bad", "#66b8bd", "#b0dcc0", "#fbf6c6"),
    ),
    "diverging": (
        ("#0f4c8a", "#4f8cc4", "#b3d0e8", "#f5f5f3", "#f6cba0", "#d98032", "#8a3d06"),
        ("#9accff", "#4a92d6", "#1f4c7a", "#1d2129", "#74430f", "#cf7f27", "#ffc98a"),
    ),
}

# Okabe and Ito's colours without yellow and black, in an order that keeps neighbours far apart
CATEGORIES: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f")

# A picked cell's outline: strong on both pages and on every colour of both ramps.
PICKED: Final = {"expr": f"{_DARK} ? '#ff5ca8' : '#d6006c'"}

# Grey stripes that are in no ramp: a cell that no score was allowed for.
HATCH: Final[dict[str, Any]] = {
    "gradient": "linear",
    "x1": 0,
    "y1": 0,
    "x2": 1,
    "y2": 1,
    "stops": [
        {"offset": edge / 4, "color": f"rgba(128,128,128,{0.42 if stripe % 2 else 0.16})"}
        for stripe in range(4)
        for edge in (stripe, stripe + 1)
    ],
}

_STEPS: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


def ramp(palette: Palette) -> list[dict[str, str]]:
    """The palette as a Vega-Lite range whose colours follow the page's background."""
    light, dark = _RAMPS[palette]
    return [
        {"expr": f"{_DARK} ? '{on_dark}' : '{on_light}'"}
        for on_light, on_dark in zip(light, dark, strict=True)
    ]


def nice_domain(values: np.ndarray | Sequence[float], palette: Palette) -> Domain:
    """The colour range for ``values``: round bounds, centred on 0 for the diverging palette.

    Bounds move in steps (1, 1.5, 2, 3, 5, 7, 10, ...), so a small change of the numbers changes the
    cells' colours and not what a colour means. Infinite and undefined values are left out.

    >>> nice_domain([-0.4, 1.2], "diverging")
    (-1.5, 1.5)
    >>> nice_domain([0.0, 0.62], "sequential")
    (0.0, 0.7)
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return (-1.0, 1.0) if palette == "diverging" else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if palette == "diverging":
        bound = _step_above(max(-low, high))
        return (-bound, bound)
    top = _step_above(high) if high > 0 or low >= 0 else 0.0
    return (-_step_above(-low) if low < 0 else 0.0, top)


def _step_above(value: float) -> float:
    """The smallest round number that is not below ``value``; 1 for zero."""
    if value <= 0:
        return 1.0
    exponent = math.floor(math.log10(value))
    unit = 10.0**exponent
    # A value that is a step already must not be lifted to the next by rounding.
    step = next((s for s in _STEPS if value <= s * unit * (1 + 1e-9)), 10.0)
    return float(f"{step * unit:.6g}")
