"""Bar charts: one number for each label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from attnviz.charts.axes import heading, hover_labels, token_axis
from attnviz.charts.chart import Chart
from attnviz.charts.palettes import categories


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
) -> Chart:
    """Horizontal bars, top to bottom in the given order, with the exact number on hover.

    Args:
        values: (n,) numbers of either sign; ``-inf`` and ``nan`` have no bar and say so on hover.
        labels: n labels; repeated labels stay separate bars.
        domain: the ends of the value axis; by default from the data, including 0.
        width: length of the longest bar, in pixels.
        pitch: pixels from one bar to the next.
        picked: the bar to highlight.

    Raises:
        ValueError: values and labels differ in number.
    """
    array = np.asarray(values)
    if array.shape != (len(labels),):
        raise ValueError(f"{len(labels)} labels for values of shape {array.shape}")
    positions = {"domain": list(range(len(labels))), "padding": 0.2}
    plain, highlight, *_ = categories()
    specification = heading(title) | {
        "autosize": "pad",
        "width": width,
        "height": pitch * max(len(labels), 1),
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "y": {
                "field": "position",
                "type": "ordinal",
                "scale": positions,
                "axis": token_axis(labels, label_title, pitch, orient="left"),
            },
            "x": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": list(domain)} if domain else {"zero": True},
                "axis": {"title": value_title, "tickCount": 4, "titlePadding": 6},
            },
            "color": {
                "condition": {"test": "datum.picked", "value": highlight},
                "value": plain,
            },
            "tooltip": [
                {"field": "label", "type": "nominal", "title": label_title or "position"},
                {"field": "shown", "type": "nominal", "title": value_title},
            ],
        },
    }
    return Chart(specification, _table(array, labels, picked))


def _table(values: np.ndarray, labels: Sequence[str], picked: int | None) -> pa.Table:
    """One row a bar: position, value and tooltip text."""
    position = np.arange(len(labels), dtype=np.int32)
    return pa.table(
        {
            "position": position,
            "value": pa.array(values, mask=~np.isfinite(values)),
            "label": hover_labels(labels),
            "shown": np.where(np.isneginf(values), "masked", np.char.mod("%.7g", values)),
            "picked": position == (-1 if picked is None else picked),
        }
    )
