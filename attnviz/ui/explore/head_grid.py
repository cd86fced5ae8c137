"""All heads at a glance."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis import matrices
from attnviz.canvas import CanvasState, GridLayer, GridPayload, assemble_grid, grid_layer
from attnviz.ui.canvas import canvas
from attnviz.ui.error_display import attempt
from attnviz.ui.executor import Job
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import key_of
from attnviz.ui.waiting import no_report, queue_status

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.executor import Report
    from attnviz.ui.generate.running import TraceRef

GRID_HEIGHT = 470
MOMENT = 0.5  # seconds until what was read of a grid is shown
TICK = 0.1  # seconds between looks at a grid that grows
_CLICKED = "_grid_clicked"


def grid(seen: TraceRef, layer: AttentionLayer, head: int, report: Report) -> None:
    """All heads as thumbnails. A click moves the sliders to that head.

    Those of a long text are filled in layer by layer, as long as the page is open.
    """
    growing = not read(seen.trace, report, MOMENT).complete
    st.fragment(_grid, run_every=TICK if growing else None)(seen, layer, head, growing)


def _grid(seen: TraceRef, layer: AttentionLayer, head: int, growing: bool) -> None:
    """What there is of the grid; of one that grows, more is then read for the next time."""
    if st.session_state.pop(_CLICKED, False):
        st.rerun()  # the whole page follows a click, not this part alone
    trace = seen.trace
    payload = read(trace, no_report)
    if growing and payload.complete:
        st.rerun()
    layers = payload.layers

    def moved(said: CanvasState, what: str) -> None:
        if said.selected is None or what != "selected":
            return
        index, chosen = said.selected
        kind = layers[index].kind
        among = [x.index for x in layers if x.kind == kind]
        if len({x.kind for x in layers}) > 1:
            st.session_state["kind"] = kind
        st.session_state["layer"], st.session_state["head"] = among.index(index), chosen
        st.session_state[_CLICKED] = True

    canvas(
        replace(payload, selected=(layer.index, head)),
        key="heads",
        height=GRID_HEIGHT,
        on_change=moved,
    )
    with st.container(horizontal=True, vertical_alignment="center"):  # as high from the beginning
        st.download_button(
            "Heads as CSV",
            lambda: matrices.metrics(seen.trace, payload.metrics).csv(),
            file_name="heads.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            type="tertiary",
            disabled=not payload.complete,
            help="Every head with each of its numbers.",
        )
        beside = st.empty()
    if payload.complete:
        return

    def report(ahead: int) -> None:
        doing = f"Reading all heads, {len(payload.thumbnails)} of {len(payload.layers)} layers"
        queue_status(beside, doing)(ahead)

    report(0)
    if attempt(lambda: read(trace, report, MOMENT), beside) is None:
        st.rerun()  # the page says what is wrong and does not try again by itself


def read(made: Trace, report: Report, seconds: float = 0.0) -> GridPayload:
    """All heads of a trace as thumbnails with their numbers, as far as they were read.

    Each layer is work of its own, which is kept, and between two of them others have their turn.

    Args:
        seconds: no layer is begun later than this.
    """
    work, values = shared().work, shared().values
    until = time.monotonic() + seconds
    found: list[GridLayer] = []
    for layer in made.layers:
        key = (*key_of(made), "grid", layer.index)
        if layer.source != "refused" and (time.monotonic() < until or key in values):
            action = partial(_grid_layer, made, layer.index)
            found.append(work.run(key, action, values, report))
    return assemble_grid(made, found)


def _grid_layer(made: Trace, layer: int, job: Job) -> GridLayer:
    return grid_layer(made, layer)
