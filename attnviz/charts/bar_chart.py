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
    position = np.arange(len(labels), dtype=np.int32)
    finite = np.isfinite(array)
    data = pa.table(
        {
            "position": position,
            "value": pa.array(array, mask=~finite),
            "label": hover_labels(labels),
            "shown": np.where(np.isneginf(array), "masked", np.char.mod("%.7g", array)),
            "picked": position == (-1 if picked is None else picked),
        }
    )
    encoding = {
        "y": {
            "field": "position",
            "type": "ordinal",
            "scale": {"domain": list(range(len(labels))), "padding": 0.2},
            "axis": token_axis(labels, label_title, pitch, orient="left"),
        },
        "x": {
            "field": "value",
            "type": "quantitative",
            "scale": {"domain": list(domain)} if domain else {"zero": True},
            "axis": {"title": value_title, "tickCount": 4, "titlePadding": 6},
        },
        "color": {
            "condition": {"test": "datum.picked", "value": categories()[1]},
            "value": categories()[0],
        },
        "tooltip": [
            {"field": "label", "type": "nominal", "title": label_title or "position"},
            {"field": "shown", "type": "nominal", "title": value_title},
        ],
    }
    specification = heading(title) | {
        "autosize": "pad",
        "width": width,
        "height": pitch * max(len(labels), 1),
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": encoding,
    }
    return Chart(specification, data)
