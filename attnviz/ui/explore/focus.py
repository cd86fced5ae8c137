"""The token that everything on the page is about, and where it stands in each map.

It is a token of a text, not of a layer: an encoder's rows are the source text, a decoder's the
target, and cross-attention has one on either side. In the link it is ``at=5``, and ``at=s5`` for a
source token where there is a target text too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import streamlit as st

from attnviz.canvas import TokenRef

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer, Trace

Text = Literal["source", "target"]

LINK = "at"
CELL = "cell"  # a map's picked cell, whose query is in focus: its layer's kind, query and key


@dataclass(frozen=True)
class Focus:
    """A token: which text, and its position there."""

    text: Text
    index: int


def current(trace: Trace) -> Focus | None:
    """The focus in the link, if this trace has such a token."""
    found = re.fullmatch(r"(s?)(\d{1,7})", st.query_params.get(LINK, ""))
    if found is None:
        return None
    text: Text = "target" if trace.target_tokens and not found[1] else "source"
    index = int(found[2])
    return Focus(text, index) if index < len(_tokens(trace, text)) else None


def settle(asked: object) -> None:
    """Let go of what was chosen in another text or model; what a link opened with stays.

    Args:
        asked: what tells one text in one model from another.
    """
    if st.session_state.setdefault("_focus_in", asked) != asked:
        st.session_state["_focus_in"] = asked
        for name in (LINK, CELL):
            st.query_params.pop(name, None)


def choose(trace: Trace, focus: Focus | None) -> None:
    """Put a focus into the link, or let go of it and of the cell that it was chosen by."""
    st.query_params.pop(CELL, None)
    if focus is None:
        st.query_params.pop(LINK, None)
        return
    mark = "s" if focus.text == "source" and trace.target_tokens else ""
    st.query_params[LINK] = f"{mark}{focus.index}"


def choose_cell(trace: Trace, layer: AttentionLayer, cell: tuple[int, int]) -> None:
    """Put a map's cell into the link, and its query into focus."""
    choose(trace, from_map(trace, layer, TokenRef("row", cell[0])))
    st.query_params[CELL] = f"{layer.kind}.{cell[0]}.{cell[1]}"


def cell_in(layer: AttentionLayer) -> tuple[int, int] | None:
    """The cell in the link, if it is one of this layer's map."""
    found = re.fullmatch(r"(\w+)\.(\d{1,7})\.(\d{1,7})", st.query_params.get(CELL, ""))
    if found is None or found[1] != layer.kind:
        return None
    cell = (int(found[2]), int(found[3]))
    return cell if cell[0] < layer.n_q and cell[1] < layer.n_k else None


def in_map(trace: Trace, layer: AttentionLayer, focus: Focus | None) -> TokenRef | None:
    """Where a layer's map has the token: among its queries, among its keys, or nowhere."""
    if focus is None:
        return None
    for side, n in (("row", layer.n_q), ("col", layer.n_k)):
        if text_of(trace, layer, side) == focus.text and focus.index < n:
            return TokenRef("row" if side == "row" else "col", focus.index)
    return None


def from_map(trace: Trace, layer: AttentionLayer, at: TokenRef | None) -> Focus | None:
    """The token that was chosen in a layer's map."""
    text = None if at is None else text_of(trace, layer, at.side)
    return None if at is None or text is None else Focus(text, at.index)


def text_of(trace: Trace, layer: AttentionLayer, side: str) -> Text | None:
    """Which text a layer's queries ("row") or keys ("col") are, if they are tokens of one.

    Of an image alone, its patches are the source.
    """
    axis = layer.rows if side == "row" else layer.cols
    if axis == "image":
        shown = trace.row_tokens if side == "row" else trace.col_tokens
        return "source" if shown(layer.index) == trace.tokens else None
    return None if axis == "number" else axis


def _tokens(trace: Trace, text: Text) -> tuple[object, ...]:
    return trace.target_tokens if text == "target" else trace.tokens
