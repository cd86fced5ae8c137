"""One stage of the layer, a matrix on its way from input to output, as a heatmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from attnviz.analysis.lab import Lab
from attnviz.charts import Chart, Palette, heatmap, heatmaps, nice_domain
from attnviz.nn import AttentionSteps, Stage
from attnviz.ui.charting import draw_chart

_WIDTHS: Final = {"d_model": 320, "d_head": 120, "concat": 320, "hidden": 420}  # px
_FROM_ZERO: Final = ("weights", "weights_dropped", "sink_weights", "mask")


def draw_stage(
    stage: Stage,
    steps: AttentionSteps,
    lab: Lab,
    head: int | None,
    *,
    key: str = "",
    select: str | None = None,
    picked: tuple[int, int, int] | None = None,
    on_select: Callable[[], None] | None = None,
) -> None:
    """Draw a stage of one head, or of all of them side by side.

    Args:
        head: None for all; a stage that the heads share is drawn once.
        key: of the chart; by default one for each stage.
        select: name of the selection that a click on a cell makes.
        picked: (head, query, key) to outline.
        on_select: called when a cell was clicked.
    """
    draw_chart(
        _chart(stage, steps, lab, head, select, picked),
        key or f"chart_{stage.name}",
        f"{stage.title}: {stage.formula}",
        on_select=on_select,
    )


def _chart(
    stage: Stage,
    steps: AttentionSteps,
    lab: Lab,
    head: int | None,
    select: str | None,
    picked: tuple[int, int, int] | None,
) -> Chart:
    values = stage.value[0].float().numpy()  # (rows, columns), or (heads, rows, columns)
    rows, columns = lab.stage_labels(stage)
    palette: Palette = "sequential" if stage.name in _FROM_ZERO else "diverging"
    options: dict[str, Any] = {
        "row_title": _title(stage.rows),
        "col_title": _title(stage.columns),
        "value_title": stage.title,
        "palette": palette,
        # Over all heads, so that a color means the same from one head to the next.
        "domain": (0.0, 1.0) if stage.name == "mask" else nice_domain(values, palette),
        "title": stage.title,
        "subtitle": "S ← scale × S" if stage.name == "scores_scaled" else stage.formula,
        "size": _size(stage, len(rows), len(columns), together=stage.per_head and head is None),
        "masked": _masked(stage, steps),
        "select": select,
        "legend": stage.name != "mask",
    }
    if not stage.per_head:
        return heatmap(values, rows, columns, **options)
    if head is None:
        grouped = stage.heads == "key" and len(values) < lab.config.n_heads
        names = [f"{'KV head' if grouped else 'head'} {h}" for h in range(len(values))]
        return heatmaps(values, rows, columns, names, picked=picked, **options)
    own = head * len(values) // lab.config.n_heads  # heads may share keys and values
    cell = None if picked is None else picked[1:]
    return heatmap(values[own], rows, columns, picked=cell, **options)


def _masked(stage: Stage, steps: AttentionSteps) -> np.ndarray | None:
    """(n_q, n_k): True where the mask hides a cell of this stage."""
    if stage.name not in _FROM_ZERO or stage.name == "sink_weights" or steps.mask is None:
        return None
    hidden: np.ndarray = ~steps.mask[0, 0].numpy()
    return hidden


def _size(stage: Stage, n_rows: int, n_columns: int, together: bool) -> tuple[int, int]:
    """(width, height) in pixels, from the number of tokens alone: no slider moves the layout."""
    room = 150 if together else 280
    cell = min(max(room // max(n_rows, n_columns if stage.columns == "key" else 1), 5), 24)
    if stage.columns in _WIDTHS:
        return _WIDTHS[stage.columns] - (24 if together else 0), cell * n_rows
    return cell * n_columns, cell * n_rows


def _title(axis: str) -> str | None:
    return {"query": "query", "key": "key", "sink": None}.get(axis, "dimension")
