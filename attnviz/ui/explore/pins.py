"""Pinned heads: their maps beside each other, whatever head is selected. They are in the link."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.canvas import map_payload
from attnviz.canvas.naming import layer_name
from attnviz.ui import query_params
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.waiting import no_report

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.generate.results import TraceRef

HEIGHT = 420
MAX_PINS = 4  # in rows of two: smaller maps can't be read
_LINK = "pins"

Pin = tuple[int, int]  # layer, head


def pins(ref: TraceRef, layer: AttentionLayer, head: int) -> None:
    """The pinned heads, and the button that pins the selected one."""
    pinned = _linked_pins(ref.trace)
    selected = (layer.index, head)
    with st.container(horizontal=True, vertical_alignment="center"):
        if pinned:
            st.markdown("**Pinned heads**")
        st.button(
            "Pin this head",
            icon=":material/keep:",
            on_click=_link,
            args=([*pinned, selected],),
            disabled=selected in pinned or len(pinned) >= MAX_PINS or layer.source == "refused",
            help=f"Keeps this head's map on screen next to others (up to {MAX_PINS}).",
        )
    for start in range(0, len(pinned), 2):
        for pin, column in zip(pinned[start : start + 2], st.columns(2), strict=False):
            with column.container(border=True):
                _pinned_map(ref, pinned, pin)


@st.fragment
def _pinned_map(ref: TraceRef, pinned: list[Pin], pin: Pin) -> None:
    trace, (layer, head) = ref.trace, pin
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{layer_name(trace, layer)}, head {head}")
        if st.button(
            "Unpin", key=f"unpin_{layer}_{head}", type="tertiary", icon=":material/close:"
        ):
            _link([other for other in pinned if other != pin])
            st.rerun()
    key = f"pin_{layer}_{head}"
    memo = trace_memo(trace, no_report)
    payload = map_payload(trace, layer, head, canvas_state(key).view, memo=memo)
    canvas(payload, key=key, height=HEIGHT, compact=True, source=ref.source)


def _linked_pins(trace: Trace) -> list[Pin]:
    """The pins in the link that this trace has and can show."""
    found = re.findall(r"(\d{1,5})\.(\d{1,5})", query_params.read(_LINK))
    layers = trace.layers
    return [
        (i, j)
        for i, j in dict.fromkeys((int(i), int(j)) for i, j in found)
        if i < len(layers) and j < layers[i].n_heads and layers[i].source != "refused"
    ][:MAX_PINS]


def _link(pinned: list[Pin]) -> None:
    query_params.write(_LINK, ",".join(f"{i}.{j}" for i, j in pinned) or None)
