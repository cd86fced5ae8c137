"""Bars: one number for each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from attnviz.charts.axes import axis, heading, positioned
from attnviz.charts.palettes import CATEGORIES


def bars(
    values: np.ndarray | Sequence[float],
    labels: Sequence[str],
    *,
    label_title: str | None = None,
    value_title: str = "value",
    domain: tuple[float, float] | None = None,
    title: str | None = None,
    width: int = 220,
    pitch: int = 20,
    picked: int | None = None,
) -> alt.Chart:
    """Horizontal bars, top to bottom in the order given, with the number itself on hover.

    Args:
        values: (n,) numbers of either sign; ``-inf`` and ``nan`` have no bar and say so on hover.
        labels: n labels; repeats stay separate bars.
        domain: the ends of the value axis; from the data, with 0 in it, by default.
        width: the longest bar, in pixels.
        pitch: pixels from one bar to the next.
        picked: the bar to bring out.
    """
    array = np.asarray(values)
    if array.shape != (len(labels),):
        raise ValueError(f"{len(labels)} labels for values of shape {array.shape}")
    position = np.arange(len(labels), dtype=np.int32)
    finite = np.isfinite(array)
    data = pa.table(
        {
            "position": position,
            "value": pa.array(array, mask=~finite),
            "label": positioned(labels),
            "shown": np.where(np.isneginf(array), "masked", np.char.mod("%.7g", array)),
            "picked": position == (-1 if picked is None else picked),
        }
    )
    specification: dict[str, Any] = {
        "autosize": "pad",
        "title": heading(title),
        "width": width,
        "height": pitch * max(len(labels), 1),
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "y": {
                "field": "position",
                "type": "ordinal",
                "scale": {"domain": list(range(len(labels))), "padding": 0.2},
                "axis": axis(labels, label_title, pitch, orient="left"),
            },
            "x": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": list(domain)} if domain else {"zero": True},
                "axis": {"title": value_title, "tickCount": 4, "titlePadding": 6},
            },
            "color": {
                "condition": {"test": "datum.picked", "value": CATEGORIES[1]},
                "value": CATEGORIES[0],
            },
            "tooltip": [
                {"field": "label", "type": "nominal", "title": label_title or "position"},
                {"field": "shown", "type": "nominal", "title": value_title},
            ],
        },
    }
    return alt.Chart(data=data, **specification)
