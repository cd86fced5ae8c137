"""Line charts: one or more series over the same positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from attnviz.charts.axes import heading
from attnviz.charts.chart import Chart
from attnviz.charts.palettes import categories


def lines(
    series: Mapping[str, np.ndarray | Sequence[float]],
    *,
    x: np.ndarray | Sequence[float] | None = None,
    x_title: str = "position",
    x_format: str = ",.6~r",
    y_title: str = "value",
    domain: tuple[float, float] | None = None,
    title: str | None = None,
    size: tuple[int, int] = (420, 200),
    point_size: int = 24,
    bridge_gaps: bool = False,
    legend: Literal["right", "top"] = "right",
) -> Chart:
    """A line for each series, named by its key, with the exact number on hover.

    Args:
        series: name to (n,) numbers; series may differ in length. Undefined numbers leave a gap.
        x: positions, as many as the longest series has; 0, 1, 2, ... by default.
        x_format: a d3-format of the positions.
        domain: the ends of the value axis; from the data by default.
        size: (width, height) in pixels, without axes.
        point_size: area of a point, in square pixels.
        bridge_gaps: connect the numbers on both sides of a gap instead.
        legend: beside the plot if there are several series, or always above it.

    Raises:
        ValueError: there are not as many positions as numbers.
    """
    data = _table(series, x)
    if bridge_gaps:
        data = data.filter(data["value"].is_valid())
    specification = heading(title) | {
        "autosize": "pad",
        "width": size[0],
        "height": size[1],
        "mark": {"type": "line", "point": {"size": point_size}, "strokeWidth": 1.6},
        "encoding": _encoding(list(series), x_title, x_format, y_title, domain, legend),
    }
    return Chart(specification, data)


def _encoding(
    names: list[str],
    x_title: str,
    x_format: str,
    y_title: str,
    domain: tuple[float, float] | None,
    legend: Literal["right", "top"],
) -> dict[str, Any]:
    legend_at = {"title": None} if legend == "right" else {"title": None, "orient": legend}
    return {
        "x": {
            "field": "x",
            "type": "quantitative",
            "scale": {"zero": False, "nice": False},
            "axis": {"title": x_title, "format": x_format, "tickMinStep": 1, "titlePadding": 6},
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
            "scale": {"domain": names, "range": categories()},
            "legend": legend_at if len(names) > 1 or legend == "top" else None,
        },
        "tooltip": [
            {"field": "x", "type": "quantitative", "title": x_title},
            {"field": "series", "type": "nominal", "title": "series"},
            {"field": "shown", "type": "nominal", "title": y_title},
        ],
    }


def _table(
    series: Mapping[str, np.ndarray | Sequence[float]], x: np.ndarray | Sequence[float] | None
) -> pa.Table:
    """One row a point: position, value, series and tooltip text."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in series.items()}
    longest = max((array.size for array in arrays.values()), default=0)
    positions = np.arange(longest) if x is None else np.asarray(x)
    if positions.shape != (longest,):
        raise ValueError(f"{positions.size} positions for a series of {longest}")
    flat = np.concatenate([*arrays.values(), np.zeros(0)])
    return pa.table(
        {
            "x": np.concatenate([*(positions[: a.size] for a in arrays.values()), positions[:0]]),
            "value": pa.array(flat, mask=~np.isfinite(flat)),
            "series": [name for name, array in arrays.items() for _ in range(array.size)],
            "shown": np.char.mod("%.7g", flat),
        }
    )
