"""Parts of the Explore page: tokens, predictions, the receipt, one matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.errors import AttnVizError
from attnviz.ui import state, views
from attnviz.ui.errors import as_text

if TYPE_CHECKING:
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.trace import AttentionLayer, Trace

CHIPS = 256  # tokens shown as chips; the logits of as many are kept


def token_chips(trace: Trace) -> int | None:
    """The tokens as chips; the position of the one that was clicked."""
    if trace.target_tokens:
        st.caption("Source tokens: " + " ".join(map(_quoted, views.labels(trace.tokens[:CHIPS]))))
    tokens = trace.target_tokens or trace.tokens
    what = "Target tokens" if trace.target_tokens else "Tokens"
    names = views.labels(tokens[:CHIPS])
    return state.linked_choice(f"{what} ({len(tokens):,})", names, key="at")


def predictions(trace: Trace, at: int | None) -> None:
    """The likeliest tokens after (or, masked, at) a position."""
    try:
        found = trace.predictions(at)
    except AttnVizError as error:
        st.caption("Predictions")
        st.caption(as_text(str(error)))
        return
    tokens = trace.target_tokens or trace.tokens
    where = "at the end or at the mask" if at is None else f"at {at} “{views.labels(tokens)[at]}”"
    st.caption(as_text(f"Predictions {where}"))
    names = [views.visible(p.token) for p in found]
    chart = charts.bars(
        np.array([p.probability for p in found]),
        names,
        label_title="token",
        value_title="probability",
        domain=(0.0, 1.0),
    )
    st.altair_chart(chart, alt=f"The likeliest token is {names[0]}", key="predictions")


def receipt(layer: AttentionLayer, check: Fidelity) -> None:
    """Whether the layer's map can be trusted, and why."""
    word, colour, why = views.verdict(layer, check)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(word, color=colour)
        st.caption(as_text(why))


def picture(matrix: views.Matrix, layer: AttentionLayer, head: int, view: str) -> None:
    """One matrix with what it is, and the file of it."""
    n_rows, n_cols = matrix.values.shape
    st.caption(f"{views.EXPLAINED[view].capitalize()}.{_part(layer, view)}")
    st.altair_chart(
        charts.heatmap(
            matrix.values,
            matrix.rows,
            matrix.cols,
            row_title=matrix.row_title,
            col_title=matrix.col_title,
            value_title=matrix.value_title,
            palette=matrix.palette,
            masked=matrix.masked,
            domain=matrix.domain,
        ),
        alt=f"{views.VIEWS[view]} of layer {layer.index}, head {head}",
        key="matrix",
    )
    st.download_button(
        "Download as CSV",
        matrix.csv,
        file_name=f"layer{layer.index}-head{head}-{view}.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        help=f"These {n_rows} × {n_cols} numbers with their labels.",
    )


def _part(layer: AttentionLayer, view: str) -> str:
    """What is left out, where something is."""
    if max(layer.n_q, layer.n_k) <= views.WINDOW:
        return ""
    return (
        f" The window is {views.WINDOW} positions of {layer.n_q:,} queries and {layer.n_k:,} keys;"
        " each number is exact for the whole text."
    )


def _quoted(name: str) -> str:
    return f"**{as_text(name)}**"
