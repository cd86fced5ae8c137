"""All heads at a glance, and those that were put aside."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis import matrices
from attnviz.canvas import CanvasState, map_payload
from attnviz.canvas.labels import layer_name
from attnviz.ui import models
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.errors import attempt

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.executor import Report
    from attnviz.ui.writing import Seen

GRID_HEIGHT = 470
MOMENT = 0.5  # seconds until what was read of a grid is shown
TICK = 0.1  # seconds between looks at a grid that grows
_CLICKED = "_grid_clicked"
PIN_HEIGHT = 420
PINS = 4  # more than two are in rows of two: smaller ones can't be read


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


def pins(seen: Seen, layer: AttentionLayer, head: int) -> None:
    """The heads that were put aside, as maps beside each other; they are in the link."""
    held = _pinned(seen.trace)
    here = (layer.index, head)
    with st.container(horizontal=True, vertical_alignment="center"):
        if held:
            st.markdown("**Pinned heads**")
        st.button(
            "Pin this head",
            icon=":material/keep:",
            on_click=_pin,
            args=([*held, here],),
            disabled=here in held or len(held) >= PINS or layer.source == "refused",
            help=f"Keep this head's map in view beside others, {PINS} at most.",
        )
    for start in range(0, len(held), 2):
        for (i, j), column in zip(held[start : start + 2], st.columns(2), strict=False):
            with column.container(border=True):
                _pinned_head(seen, held, i, j)


@st.fragment
def _pinned_head(seen: Seen, held: list[tuple[int, int]], i: int, j: int) -> None:
    trace = seen.trace
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{layer_name(trace, i)}, head {j}")
        if st.button("Unpin", key=f"unpin_{i}_{j}", type="tertiary", icon=":material/close:"):
            _pin([pin for pin in held if pin != (i, j)])
            st.rerun()
    key = f"pin_{i}_{j}"
    remember = models.remembering(trace, models.no_report)
    payload = map_payload(trace, i, j, canvas_state(key).view, remember=remember)
    canvas(payload, key=key, height=PIN_HEIGHT, compact=True)


def _pinned(trace: Trace) -> list[tuple[int, int]]:
    """The pins in the link that this trace has."""
    found = re.findall(r"(\d{1,5})\.(\d{1,5})", st.query_params.get("pins", ""))
    held = dict.fromkeys((int(i), int(j)) for i, j in found)
    layers = trace.layers
    return [
        (i, j)
        for i, j in held
        if i < len(layers) and j < layers[i].n_heads and layers[i].source != "refused"
    ][:PINS]


def _pin(held: list[tuple[int, int]]) -> None:
    if held:
        st.query_params["pins"] = ",".join(f"{i}.{j}" for i, j in held)
    else:
        st.query_params.pop("pins", None)
