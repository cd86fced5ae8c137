"""Which head a page shows: its kind of attention, layer and head, all in the link."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from attnviz.glossary import term
from attnviz.ui import query_params
from attnviz.ui.query_params import linked_choice, linked_index

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace

_LAST = "_last_head"


class HeadChoice(NamedTuple):
    """A layer of the trace, and one of its heads."""

    layer: AttentionLayer
    head: int


def choose_head(
    trace: Trace, first: Callable[[], tuple[int, int] | None] = lambda: None
) -> HeadChoice:
    """Draw the sliders for layer and head, and a control for the kind where there are several.

    Args:
        first: the layer's index and the head to start on, where neither link nor session has one.
    """
    if not any(name in st.session_state or query_params.read(name) for name in ("layer", "head")):
        place = first()
        if place is not None:
            move_to(trace.layers, *place)
    titles: dict[str, str] = {layer.kind: layer.kind for layer in trace.layers}
    kind = next(iter(titles))
    if len(titles) > 1:
        kind = linked_choice(st.segmented_control, "Attention", titles, key="kind")
    else:
        query_params.unlink("kind")
    layers = [layer for layer in trace.layers if layer.kind == kind]
    with st.container(horizontal=True, gap="medium"):
        with st.container():
            layer = layers[linked_index("Layer", len(layers), key="layer", help=term("layer"))]
        with st.container():
            head = linked_index("Head", layer.n_heads, key="head", help=term("head"))
    st.session_state[_LAST] = (layer.index, head)
    return HeadChoice(layer, head)


def move_to(layers: tuple[AttentionLayer, ...], layer: int, head: int) -> None:
    """Move the sliders to a head; only in a callback, before they are drawn."""
    kind = layers[layer].kind
    of_kind = [other.index for other in layers if other.kind == kind]
    if len(of_kind) < len(layers):
        st.session_state["kind"] = kind
    st.session_state["layer"], st.session_state["head"] = of_kind.index(layer), head


def last_chosen() -> tuple[int, int]:
    """The layer's index and the head that the session last showed."""
    chosen: tuple[int, int] = st.session_state.get(_LAST, (0, 0))
    return chosen
