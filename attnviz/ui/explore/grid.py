"""All heads at a glance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis import matrices
from attnviz.canvas import CanvasState
from attnviz.ui import models
from attnviz.ui.canvas import canvas
from attnviz.ui.errors import attempt

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer
    from attnviz.ui.executor import Report
    from attnviz.ui.explore.generation import Seen

GRID_HEIGHT = 470
MOMENT = 0.5  # seconds until what was read of a grid is shown
TICK = 0.1  # seconds between looks at a grid that grows
_CLICKED = "_grid_clicked"


def grid(seen: Seen, layer: AttentionLayer, head: int, report: Report) -> None:
    """All heads as thumbnails. A click moves the sliders to that head.

    Those of a long text are filled in layer by layer, as long as the page is open.
    """
    growing = not models.grid(seen.trace, report, MOMENT).complete
    st.fragment(_grid, run_every=TICK if growing else None)(seen, layer, head, growing)


def _grid(seen: Seen, layer: AttentionLayer, head: int, growing: bool) -> None:
    """What there is of the grid; of one that grows, more is then read for the next time."""
    if st.session_state.pop(_CLICKED, False):
        st.rerun()  # the whole page follows a click, not this part alone
    trace = seen.trace
    payload = models.grid(trace, models.no_report)
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
    if payload.complete:
        st.download_button(
            "Heads as CSV",
            lambda: matrices.metrics(seen.trace, payload.metrics).csv(),
            file_name="heads.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            type="tertiary",
            help="Every head with each of its numbers.",
        )
        return
    below = st.empty()

    def report(ahead: int) -> None:
        read = f"Reading all heads, {len(payload.thumbnails)} of {len(payload.layers)} layers"
        models.waiting_line(below, read)(ahead)

    report(0)
    if attempt(lambda: models.grid(trace, report, MOMENT), below) is None:
        st.rerun()  # the page says what is wrong and does not try again by itself
