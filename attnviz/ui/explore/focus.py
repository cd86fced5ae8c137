"""The focus: the token that all parts of the page show, and its position in each map.

It is a token of a text, not of a layer: an encoder's rows are the source text, a decoder's the
target, and cross-attention has one on either side. In the link it is ``at=5``, and ``at=s5`` for a
source token where there is a target text too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import streamlit as st

from attnviz.canvas import TokenRef
from attnviz.ui import query_params

if TYPE_CHECKING:
    from attnviz.models.tokens import Token
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.generate.results import TraceRef

Text = Literal["source", "target"]

LINK = "at"
CELL = "cell"  # the picked cell of a map, whose query is in focus: layer kind, query and key
_ORIGIN = "_focus_in"


@dataclass(frozen=True)
class Focus:
    """A token: which text, and its position there."""

    text: Text
    index: int


def current(trace: Trace, ref: TraceRef) -> Focus | None:
    """The focus in the link, if this trace has such a token.

    A focus that was chosen in another text or model is removed; one that a link opened with stays.
    """
    origin = (ref.choice, replace(ref.request, sampling=None))
    if st.session_state.setdefault(_ORIGIN, origin) != origin:
        st.session_state[_ORIGIN] = origin
        if not query_params.link_opened():
            choose(trace, None)
    found = re.fullmatch(r"(s?)(\d{1,7})", query_params.read(LINK))
    if found is None:
        return None
    text: Text = "target" if trace.target_tokens and not found[1] else "source"
    index = int(found[2])
    return Focus(text, index) if index < len(_tokens(trace, text)) else None


def keep() -> None:
    """The focus in the link is of the text that is shown next."""
    st.session_state.pop(_ORIGIN, None)


def choose(trace: Trace, focus: Focus | None) -> None:
    """Put a focus into the link, or remove it; either way the picked cell goes."""
    query_params.write(CELL, None)
    if focus is None:
        query_params.write(LINK, None)
        return
    mark = "s" if focus.text == "source" and trace.target_tokens else ""
    query_params.write(LINK, f"{mark}{focus.index}")


def choose_cell(trace: Trace, layer: AttentionLayer, cell: tuple[int, int]) -> None:
    """Put a map's cell into the link, and its query into focus."""
    choose(trace, from_map(trace, layer, TokenRef("row", cell[0])))
    query_params.write(CELL, f"{layer.kind}.{cell[0]}.{cell[1]}")


def cell_in(layer: AttentionLayer) -> tuple[int, int] | None:
    """The cell in the link, if it is one of this layer's map."""
    found = re.fullmatch(r"(\w+)\.(\d{1,7})\.(\d{1,7})", query_params.read(CELL))
    if found is None or found[1] != layer.kind:
        return None
    cell = (int(found[2]), int(found[3]))
    return cell if cell[0] < layer.n_q and cell[1] < layer.n_k else None


def in_map(trace: Trace, layer: AttentionLayer, focus: Focus | None) -> TokenRef | None:
    """The token in focus as a query or a key of a layer; None if it is neither."""
    if focus is None:
        return None
    for side, n in (("row", layer.n_q), ("col", layer.n_k)):
        if text_of(trace, layer, side) == focus.text and focus.index < n:
            return TokenRef("row" if side == "row" else "col", focus.index)
    return None


def from_map(trace: Trace, layer: AttentionLayer, token: TokenRef | None) -> Focus | None:
    """The focus that a query or key of a layer stands for."""
    text = None if token is None else text_of(trace, layer, token.side)
    return None if token is None or text is None else Focus(text, token.index)


def text_of(trace: Trace, layer: AttentionLayer, side: str) -> Text | None:
    """Which text a layer's queries ("row") or keys ("col") are, if they are tokens of one.

    Of an image alone, its patches are the source.
    """
    axis = layer.rows if side == "row" else layer.cols
    if axis == "image":
        tokens = trace.row_tokens if side == "row" else trace.col_tokens
        return "source" if tokens(layer.index) == trace.tokens else None
    return None if axis == "number" else axis


def _tokens(trace: Trace, text: Text) -> tuple[Token, ...]:
    return trace.target_tokens if text == "target" else trace.tokens
