"""Lines: one or more series over the same positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from attnviz.charts.axes import heading
from attnviz.charts.palettes import CATEGORIES


def lines(
    series: Mapping[str, np.ndarray | Sequence[float]],
    *,
    x: np.ndarray | Sequence[float] | None = None,
    x_title: str = "position",
    y_title: str = "value",
    domain: tuple[float, float] | None = None,
    title: str | None = None,
    size: tuple[int, int] = (420, 200),
) -> alt.Chart:
    """A line for each series, named by its key, with the number itself on hover.

    Args:
        series: name to (n,) numbers; series may differ in length. Undefined numbers leave a gap.
        x: positions, as many as the longest series has; 0, 1, 2, ... by default.
        domain: the ends of the value axis; from the data by default.
        size: (width, height) in pixels, without axes.
    """
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in series.items()}
    longest = max((array.size for array in arrays.values()), default=0)
    positions = np.arange(longest) if x is None else np.asarray(x)
    if positions.shape != (longest,):
        raise ValueError(f"{positions.size} positions for a series of {longest}")
    flat = np.concatenate([*arrays.values(), np.zeros(0)])
    data = pa.table(
        {
            "x": np.concatenate([*(positions[: a.size] for a in arrays.values()), positions[:0]]),
            "value": pa.array(flat, mask=~np.isfinite(flat)),
            "series": [name for name, array in arrays.items() for _ in range(array.size)],
            "shown": np.char.mod("%.7g", flat),
        }
    )
    names = list(arrays)
    specification: dict[str, Any] = {
        "autosize": "pad",
        "title": heading(title),
        "width": size[0],
        "height": size[1],
        "mark": {"type": "line", "point": {"size": 24}, "strokeWidth": 1.6},
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "scale": {"zero": False, "nice": False},
                "axis": {"title": x_title, "format": ",.6~r", "tickMinStep": 1, "titlePadding": 6},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": list(domain)} if domain else {},
                "axis": {"title": y_title, "tickCount": 5, "titlePadding": 6},
            },
            "color": {
                "field": "series",
                "type": "nominal",
                "scale": {"domain": names, "range": list(CATEGORIES)},
                "legend": {"title": None} if len(names) > 1 else None,
            },
            "tooltip": [
                {"field": "x", "type": "quantitative", "title": x_title},
                {"field": "series", "type": "nominal", "title": "series"},
                {"field": "shown", "type": "nominal", "title": y_title},
            ],
        },
    }
    return alt.Chart(data=data, **specification)
