"""All heads of a job's model at one snapshot, with the selected one below as a large map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st

from attnviz import charts
from attnviz.analysis import matrices
from attnviz.canvas import grid_payload
from attnviz.canvas.naming import layer_name, source_line
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from attnviz.train import snapshots
from attnviz.train.job import Job
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import attempt, show_error
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import register, trace_memo
from attnviz.ui.waiting import no_report

SHALLOW_LAYERS = 8  # up to so many layers the heads have room beside the curves
MAX_POSITIONS = 64  # a side of a map; a Vega-Lite heatmap of more cells is slow to draw
MAP_PX, LABELS_PX, LEGEND_PX = 340, 90, 60
MIN_CELL_PX, MAX_CELL_PX = 6, 24


def heads_over_time(job: Job) -> None:
    """A slider over the snapshots, and the heads at the chosen one."""
    paths = job.snapshots()
    if not paths:
        st.caption("Heads appear with the first snapshot.")
        return
    steps = [snapshots.step_of(path) for path in paths]
    path = paths[steps.index(_choose_step(steps))]
    snapshot = attempt(lambda: _cached_snapshot(path))
    if snapshot is not None:
        attempt(lambda: _draw_heads(snapshot.trace))


def n_recorded_layers(job: Job) -> int:
    """Layers in the job's snapshots; 0 before the first one, or if it cannot be read."""
    paths = job.snapshots()
    try:
        return len(_cached_snapshot(paths[0]).trace.layers) if paths else 0
    except (AttnVizError, OSError):
        return 0


def _cached_snapshot(path: Path) -> snapshots.Snapshot:
    caches, key = shared(), ("snapshot", str(path), path.stat().st_mtime)
    snapshot: snapshots.Snapshot = caches.views.run(
        key, lambda job: snapshots.read(path), caches.values, no_report
    )
    register(snapshot.trace, key)
    return snapshot


def _choose_step(steps: list[int]) -> int:
    """A slider over the snapshots; at its end it follows the newest one."""
    if len(steps) == 1:
        st.caption(f"Step {steps[0]}, before training")
        return steps[0]
    if st.session_state.get("train_follow", True) or st.session_state.get("at_step") not in steps:
        st.session_state["at_step"] = steps[-1]
    step: int = st.select_slider(
        "Every head at step",
        steps,
        key="at_step",
        on_change=lambda: st.session_state.update(
            train_follow=st.session_state["at_step"] == steps[-1]
        ),
        help="At the right end it follows the latest snapshot.",
    )
    return step


def _draw_heads(trace: Trace) -> None:
    selected = canvas_state("train_grid").selected or (len(trace.layers) - 1, 0)
    memo = trace_memo(trace, no_report)
    grid = replace(memo(("grid",), lambda: grid_payload(trace)), selected=selected)
    canvas(grid, key="train_grid", height=_grid_height(trace), source=source_line(trace))
    head_map(trace, *selected, key="train_head")


def _grid_height(trace: Trace) -> int:
    """The canvas's height in pixels, with its toolbar, so that every head is visible."""
    n_layers, n_heads = len(trace.layers), max(layer.n_heads for layer in trace.layers)
    if n_layers <= SHALLOW_LAYERS:
        return min(560, 120 + 110 * n_layers)
    return min(560, 150 + 960 // max(n_layers, n_heads) * min(n_layers, n_heads))


def head_map(
    trace: Trace, layer: int, head: int, *, key: str, title: str = "", side: int = MAP_PX
) -> None:
    """One head's weights over the first tokens, as a heatmap.

    Args:
        key: of the chart.
        title: the layer and the head by default.
        side: pixels of the longer side, without labels.
    """
    if layer >= len(trace.layers) or head >= trace.layers[layer].n_heads:
        return
    window = slice(0, MAX_POSITIONS)
    try:
        matrix = trace_memo(trace, no_report)(
            ("pairs", layer, head, MAX_POSITIONS),
            lambda: matrices.attention(trace, layer, head, "weights", window, window),
        )
    except AttnVizError as error:
        show_error(error)
        return
    chart = charts.heatmap(
        matrix.values,
        matrix.rows,
        matrix.cols,
        palette="sequential",
        domain=(0.0, 1.0),
        masked=matrix.masked,
        title=title or f"{layer_name(trace, layer)}, head {head}",
    )
    n_rows, n_cols = matrix.values.shape
    cell = min(max(side // max(n_rows, n_cols), MIN_CELL_PX), MAX_CELL_PX)
    chart = chart.properties(
        height=cell * n_rows + LABELS_PX, autosize={"type": "fit", "contains": "padding"}
    )
    with st.container(width=cell * n_cols + LABELS_PX + LEGEND_PX):
        alt = f"Weights of {layer_name(trace, layer).lower()}, head {head}"
        draw_chart(chart, key, alt, width="stretch")
