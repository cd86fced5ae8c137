"""Explore's canvases: all heads at a glance, and one head as a map, as lines, or as q∘k."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.ui.canvas import (
    CanvasState,
    canvas,
    canvas_state,
    lines_payload,
    map_payload,
    neuron_payload,
)
from attnviz.ui.canvas.bundle import Payload, as_html

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.canvas import GridPayload

GRID_HEIGHT = 470
HEAD_HEIGHT = 640
PIN_HEIGHT = 440
PINS = 4  # side by side; more are too narrow to read

# What the canvas shows of one head, beside the views that are a small matrix.
VIEWS = {
    "Map": "Every weight, at any length: wheel to zoom, drag to pan, hover for the exact number.",
    "Score map": "Every score before the softmax: wheel to zoom, drag to pan.",
    "Lines": "All heads of the layer as lines from queries to keys; click a token to hold it.",
    "Neuron": "One query against each key, element by element: q, k, q∘k and their sum.",
}


def grid(payload: GridPayload, trace: Trace, layer: AttentionLayer, head: int) -> None:
    """All heads as thumbnails. A click moves the sliders below to that head."""

    def moved(state: CanvasState) -> None:
        if state.selected is None:
            return
        index, chosen = state.selected
        kind = trace.layers[index].kind
        among = [x.index for x in trace.layers if x.kind == kind]
        if len({x.kind for x in trace.layers}) > 1:
            st.session_state["kind"] = kind
        st.session_state["layer"], st.session_state["head"] = among.index(index), chosen

    canvas(
        replace(payload, selected=(layer.index, head)),
        key="heads",
        height=GRID_HEIGHT,
        on_change=moved,
    )


def one_head(trace: Trace, layer: AttentionLayer, head: int, view: str) -> None:
    """One head on the canvas, and the page that shows it without a server."""
    st.caption(VIEWS[view])
    key = f"canvas_{view}"
    payload = _payloads(trace, layer, head)[view](canvas_state(key))
    canvas(payload, key=key, height=HEAD_HEIGHT)
    title = f"{view} of layer {layer.index}, head {head}"
    st.download_button(
        "Download as HTML",
        lambda: as_html(payload, title).encode(),
        file_name=f"layer{layer.index}-head{head}-{view.lower().replace(' ', '-')}.html",
        mime="text/html",
        icon=":material/download:",
        on_click="ignore",
        help="One file with all that is shown; it opens offline in any browser.",
    )


def pins(trace: Trace, layer: AttentionLayer, head: int) -> None:
    """The heads that were put aside, as small maps beside each other; they are in the link."""
    held = _pinned(trace)
    here = (layer.index, head)
    if here not in held and len(held) < PINS:
        st.button("Pin this head", icon=":material/keep:", on_click=_pin, args=([*held, here],))
    if not held:
        return
    for place, column in enumerate(st.columns(max(len(held), 2))[: len(held)]):
        i, j = held[place]
        with column:
            rest = [pin for pin in held if pin != (i, j)]
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(f"Layer {i}, head {j}")
                st.button(
                    "Unpin", key=f"unpin_{i}_{j}", type="tertiary", on_click=_pin, args=(rest,)
                )
            key = f"pin_{i}_{j}"
            canvas(map_payload(trace, i, j, canvas_state(key).view), key=key, height=PIN_HEIGHT)


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


def _payloads(
    trace: Trace, layer: AttentionLayer, head: int
) -> dict[str, Callable[[CanvasState], Payload]]:
    i = layer.index
    return {
        "Map": lambda said: map_payload(trace, i, head, said.view),
        "Score map": lambda said: map_payload(trace, i, head, said.view, quantity="scores"),
        "Lines": lambda said: lines_payload(trace, i),
        "Neuron": lambda said: neuron_payload(trace, i, head, _within(said.query, layer.n_q)),
    }


def _within(query: int | None, n_q: int) -> int | None:
    """A query chosen on a longer text is none of this one's."""
    return query if query is not None and query < n_q else None
