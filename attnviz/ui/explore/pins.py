"""Heads that were pinned, as maps beside each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.canvas import map_payload
from attnviz.canvas.naming import layer_name
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.waiting import no_report

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.generate.running import TraceRef

PIN_HEIGHT = 420
PINS = 4  # more than two are in rows of two: smaller ones can't be read


def pins(seen: TraceRef, layer: AttentionLayer, head: int) -> None:
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
def _pinned_head(seen: TraceRef, held: list[tuple[int, int]], i: int, j: int) -> None:
    trace = seen.trace
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{layer_name(trace, i)}, head {j}")
        if st.button("Unpin", key=f"unpin_{i}_{j}", type="tertiary", icon=":material/close:"):
            _pin([pin for pin in held if pin != (i, j)])
            st.rerun()
    key = f"pin_{i}_{j}"
    remember = trace_memo(trace, no_report)
    payload = map_payload(trace, i, j, canvas_state(key).view, memo=remember)
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
