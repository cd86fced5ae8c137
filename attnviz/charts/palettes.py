"""Colors of charts, canvas and theme: a sequential, a diverging and a categorical palette.

Each palette exists twice, for light and for dark pages: small values lie near the page's own color
and large ones stand out. Lightness rises or falls monotonically along each ramp. In the diverging
one blue is negative and orange positive, on every page; people with any of the common color-vision
deficiencies can tell them apart.

This module is the only source. The canvas reads ``canvas/js/palettes.js`` and Streamlit's own
charts read ``.streamlit/config.toml``; tests hold both to ``as_script`` and ``theme_colors``. A
chart's colors are Vega expressions of the page's background, so it follows a change of theme.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

Palette = Literal["sequential", "diverging"]
Theme = Literal["light", "dark"]
Domain = tuple[float, float]

_DARK: Final = "luminance(background) < 0.4"
_THEME_STOPS: Final = 10  # Streamlit takes exactly this many

# from the smallest value to the largest
RAMPS: Final[dict[Theme, dict[Palette, tuple[str, ...]]]] = {
    "light": {
        "sequential": (
            "#f4f7fa", "#cfe3ee", "#93c6dd", "#4a9fc4", "#1b6fa4", "#0f4277", "#0b1f46",
        ),
        "diverging": (
            "#0f4c8a", "#4f8cc4", "#b3d0e8", "#f5f5f3", "#f6cba0", "#d98032", "#8a3d06",
        ),
    },
    "dark": {
        "sequential": (
            "#151b26", "#173a5e", "#1b5f8c", "#2f8bad", "#66b8bd", "#b0dcc0", "#fbf6c6",
        ),
        "diverging": (
            "#9accff", "#4a92d6", "#1f4c7a", "#1d2129", "#74430f", "#cf7f27", "#ffc98a",
        ),
    },
}  # fmt: skip

# Six hues after Okabe and Ito, neighbors far apart, and a gray, in which the lines view draws all
# heads beyond the sixth. An index has the same hue on both pages, but for the sixth:
# beside a light blue there is no room for another.
CATEGORIES: Final[dict[Theme, tuple[str, ...]]] = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b6673"),
    "dark": ("#56b4e9", "#d9742e", "#48d4aa", "#f0a8d0", "#e69f00", "#f0e442", "#7b8692"),
}

# The outline of a selected cell: strong on both pages and on every color of both ramps.
SELECTED: Final[dict[Theme, str]] = {"light": "#d6006c", "dark": "#ff5ca8"}

# A page of ours, as Streamlit's theme has it: for exported pages and saved pictures.
PAGE: Final[dict[Theme, dict[str, str]]] = {
    "light": {
        "background": "#ffffff", "secondary-background": "#f3f5f7",
        "text": "#1c2530", "border": "#d8dee5", "primary": "#0b6a86",
    },
    "dark": {
        "background": "#10151b", "secondary-background": "#1a222b",
        "text": "#e4e9ef", "border": "#2f3a46", "primary": "#2291b3",
    },
}  # fmt: skip

# The ground of a receipt's word, which is white, on both pages.
VERDICTS: Final[dict[str, str]] = {"green": "#1b7f4b", "orange": "#a85a00", "red": "#b3261e"}

# Gray stripes, which are in no ramp: a masked cell.
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
    """The palette as a Vega-Lite range whose colors follow the page's background."""
    return _on_both(RAMPS["light"][palette], RAMPS["dark"][palette])


def categories() -> list[dict[str, str]]:
    """The categorical palette as a Vega-Lite range whose colors follow the page's background."""
    return _on_both(CATEGORIES["light"], CATEGORIES["dark"])


def selected() -> dict[str, str]:
    """The outline of a selected cell, as a Vega-Lite value."""
    return _on_both([SELECTED["light"]], [SELECTED["dark"]])[0]


def _on_both(light: Sequence[str], dark: Sequence[str]) -> list[dict[str, str]]:
    return [
        {"expr": f"{_DARK} ? '{on_dark}' : '{on_light}'"}
        for on_light, on_dark in zip(light, dark, strict=True)
    ]


def theme_colors(theme: Theme) -> dict[str, list[str]]:
    """The chart colors of Streamlit's theme, by their name in ``.streamlit/config.toml``."""
    return {
        "chartCategoricalColors": list(CATEGORIES[theme]),
        "chartSequentialColors": _resampled(RAMPS[theme]["sequential"]),
        "chartDivergingColors": _resampled(RAMPS[theme]["diverging"]),
    }


def as_script() -> str:
    """``canvas/js/palettes.js``."""
    tables = {
        theme: {
            **RAMPS[theme],
            "categorical": CATEGORIES[theme],
            "selected": SELECTED[theme],
            "page": PAGE[theme],
        }
        for theme in RAMPS
    }
    return (
        "// The colors of attnviz/charts/palettes.py, which writes this file: as_script().\n\n"
        f"export const PALETTES = {json.dumps(tables, indent=2)};\n"
    )


def _resampled(colors: Sequence[str]) -> list[str]:
    """As many colors as a theme has, at even steps along the ramp."""
    stops = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors])
    at = np.linspace(0, len(stops) - 1, _THEME_STOPS)
    channels = [np.interp(at, np.arange(len(stops)), channel) for channel in stops.T]
    return ["#{:02x}{:02x}{:02x}".format(*map(round, rgb)) for rgb in np.transpose(channels)]


def nice_domain(values: np.ndarray | Sequence[float], palette: Palette) -> Domain:
    """The color range for ``values``: round bounds, centered on 0 for the diverging palette.

    Bounds move in steps (1, 1.5, 2, 3, 5, 7, 10, ...), so a small change of the numbers changes the
    cells' colors and not what a color means. Infinite and undefined values are left out.

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
    # Rounding must not lift a value that is a step already to the next.
    step = next((s for s in _STEPS if value <= s * unit * (1 + 1e-9)), 10.0)
    return float(f"{step * unit:.6g}")
