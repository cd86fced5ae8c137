"""The grid of all heads, which fills in layer by layer while a long text is read."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.canvas import CanvasState, GridLayer, GridPayload, assemble_grid, grid_layer
from attnviz.ui.canvas import canvas
from attnviz.ui.error_display import attempt
from attnviz.ui.executor import Job
from attnviz.ui.head_choice import move_to
from attnviz.ui.lru_cache import Key
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import key_of
from attnviz.ui.waiting import no_report

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.executor import Report
    from attnviz.ui.generate.results import TraceRef

HEIGHT = 420  # at least; more where the window has room
MOMENT = 0.5  # seconds of reading between two pictures of a growing grid
TICK = 0.1  # seconds between two runs of a growing grid
_CLICKED = "_grid_clicked"


def grid(ref: TraceRef, layer: AttentionLayer, head: int, report: Report) -> None:
    """All heads as thumbnails. A click moves the sliders to that head."""
    growing = not read_grid(ref.trace, report, MOMENT).complete
    st.fragment(_grid, run_every=TICK if growing else None)(ref, layer, head, growing)


def _grid(ref: TraceRef, layer: AttentionLayer, head: int, growing: bool) -> None:
    """The layers read so far; of a growing grid, more are then read for the next run."""
    if st.session_state.pop(_CLICKED, False):
        st.rerun()  # the whole page follows a click, not this fragment alone
    payload = read_grid(ref.trace, no_report)
    if growing and payload.complete:
        st.rerun()
    layers = payload.layers

    def on_change(state: CanvasState, changed: str) -> None:
        if state.selected is not None and changed == "selected":
            move_to(layers, *state.selected)
            st.session_state[_CLICKED] = True

    status = st.empty()  # takes no room while it is
    canvas(
        replace(payload, selected=(layer.index, head)),
        key="heads",
        height=HEIGHT,
        source=ref.source,
        fills=True,
        on_change=on_change,
    )
    if not payload.complete:
        _read_on(ref.trace, status)


def _read_on(trace: Trace, status: DeltaGenerator) -> None:
    """Read more layers; the canvas says how many there are."""
    if attempt(lambda: read_grid(trace, no_report, MOMENT), status) is None:
        st.rerun()  # the whole page shows what is wrong, and does not try again by itself


def read_grid(trace: Trace, report: Report, seconds: float = 0.0) -> GridPayload:
    """The grid of a trace with the layers that are cached, or read within ``seconds``.

    If any time is given, at least one more layer is read.

    Each layer is a job of its own: it is cached, and other requests have their turn in between.
    """
    values = shared().values
    deadline = time.monotonic() + seconds
    may_read = seconds > 0
    layers: list[GridLayer] = []
    for layer in trace.layers:
        if layer.source == "refused":
            continue
        known = _layer_key(trace, layer.index) in values
        if known or may_read:
            layers.append(layer_grid(trace, layer.index, report))
        if not known:
            may_read = time.monotonic() < deadline
    return assemble_grid(trace, layers)


def is_read(trace: Trace) -> bool:
    """Whether every layer of a trace's grid is cached."""
    values = shared().values
    shown = [layer.index for layer in trace.layers if layer.source != "refused"]
    return all(_layer_key(trace, index) in values for index in shown)


def layer_grid(trace: Trace, layer: int, report: Report) -> GridLayer:
    """One layer's thumbnails and metrics, from the cache or as a job."""
    work = partial(_grid_layer, trace, layer)
    return shared().work.run(_layer_key(trace, layer), work, shared().values, report)


def _layer_key(trace: Trace, layer: int) -> Key:
    return (*key_of(trace), "grid", layer)


def _grid_layer(trace: Trace, layer: int, job: Job) -> GridLayer:
    return grid_layer(trace, layer)
