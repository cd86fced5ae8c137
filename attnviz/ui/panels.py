"""Parts of the Explore page: tokens, predictions, the receipt, one matrix."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.errors import AttnVizError
from attnviz.ui import state, views
from attnviz.ui.errors import as_text

if TYPE_CHECKING:
    from attnviz.models.tokens import Token
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import AttentionLayer, Trace

CHIPS = 256  # tokens shown as chips; the logits of as many are kept

_AXES = 76  # px above and below a matrix for its labels
_BADGES = {"green": ":material/check:", "orange": ":material/info:", "red": ":material/block:"}


def token_chips(trace: Trace, start: int | None = None) -> int | None:
    """The tokens as chips; the position of the one that was clicked.

    Args:
        start: the first token that the model wrote itself, if it wrote any: those have a mark.
    """
    if trace.target_tokens:
        source = " ".join(f"`{name}`" for name in map(_code, trace.tokens[:CHIPS]))
        st.caption(f"Source tokens: {source}")
    tokens = predicted(trace)
    what = "Target tokens" if trace.target_tokens else "Tokens"
    shown = "" if len(tokens) <= CHIPS else f", the first {CHIPS}"
    if start is not None:
        shown += f"; ▸ the model wrote, from {start} on"
    names = [
        f"▸{name}" if start is not None and i >= start else name
        for i, name in enumerate(views.labels(tokens[:CHIPS]))
    ]
    with st.container(height=160 if len(names) > 48 else "content", border=False):
        return state.linked_choice(f"{what} ({len(tokens):,}{shown})", names, key="at")


def predictions(model: Model, trace: Trace, at: int | None) -> None:
    """The likeliest tokens after a position, or at it for a model that guesses what is masked."""
    tokens = predicted(trace)
    last = len(tokens) - 1
    mask = getattr(model.tokenizer, "mask_token_id", None)
    fills = any(layer.kind == "encoder" for layer in trace.layers) and not trace.target_tokens
    guesses = fills and mask is not None and trace.logits is not None
    if guesses and at is None and all(token.id != mask for token in tokens):
        word = model.tokenizer.mask_token if model.tokenizer else ""
        st.caption(as_text(f"Write {word} in the text, or click a token, to see what it expects."))
        return
    if at == last and not fills:
        at = None
    if at is not None and not fills and trace.logits is not None and len(trace.logits) == 1:
        st.caption("Of a text this long only the last position's prediction is kept.")
        return
    try:
        found = trace.predictions(at)
    except AttnVizError as error:
        st.caption(as_text(str(error)))
        return
    if not tokens:
        where = "Predictions"
    elif fills:
        where = "At the mask" if at is None else f"At {at} “{views.visible(tokens[at].text)}”"
    else:
        place = last if at is None else at
        where = f"Next token after {place} “{views.visible(tokens[place].text)}”"
    st.caption(as_text(where))
    names = [views.visible(prediction.token) for prediction in found]
    chart = charts.bars(
        np.array([prediction.probability for prediction in found]),
        names,
        label_title="token",
        value_title="probability",
        domain=(0.0, 1.0),
    )
    _draw(chart, 20 * len(names) + 50, alt=f"The likeliest token is {names[0]}", key="predictions")


def predicted(trace: Trace) -> tuple[Token, ...]:
    """The tokens whose positions the logits are of."""
    return trace.target_tokens or trace.tokens


def receipt(layer: AttentionLayer, check: Fidelity) -> None:
    """Whether the layer's map can be trusted, and why."""
    word, colour, why = views.verdict(layer, check)
    st.badge(word, color=colour, icon=_BADGES[colour])
    st.caption(as_text(why))


def picture(matrix: views.Matrix, layer: AttentionLayer, head: int, view: str) -> None:
    """One matrix with what it is, and the file of it."""
    n_rows, n_cols = matrix.values.shape
    st.caption(views.VIEWS[view] + _part(layer))
    side = int(min(max(520 / max(n_rows, n_cols), 8), 34))
    chart = charts.heatmap(
        matrix.values,
        matrix.rows,
        matrix.cols,
        row_title=matrix.row_title,
        col_title=matrix.col_title,
        value_title=matrix.value_title,
        palette=matrix.palette,
        masked=matrix.masked,
        domain=matrix.domain,
        size=(side * n_cols, side * n_rows),
    )
    with st.container(width=max(side * n_cols + 170, 260)):
        _draw(
            chart,
            side * n_rows + _AXES,
            alt=f"{view} of layer {layer.index}, head {head}",
            key="matrix",
        )
    name = f"layer{layer.index}-head{head}-{view.lower()}"
    with st.container(horizontal=True):
        st.download_button(
            "Download as CSV",
            matrix.csv,
            file_name=f"{name}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
            help=f"These {n_rows} × {n_cols} numbers with their labels.",
        )
        st.download_button(
            "NPZ",
            lambda: npz(matrix),
            file_name=f"{name}.npz",
            mime="application/octet-stream",
            icon=":material/download:",
            on_click="ignore",
            help="The same for NumPy: `values`, `rows` and `cols`.",
        )


def npz(matrix: views.Matrix) -> bytes:
    """The matrix as NumPy reads it, without pickles: ``values`` float32, ``rows``, ``cols``."""
    out = io.BytesIO()
    np.savez(out, values=matrix.values, rows=np.array(matrix.rows), cols=np.array(matrix.cols))
    return out.getvalue()


def _draw(chart: alt.Chart, height: int, *, alt: str, key: str) -> None:
    """A chart that takes the width it finds, labels included, and never more."""
    chart = chart.properties(
        height=height,
        autosize={"type": "fit", "contains": "padding"},
        padding={"left": 0, "top": 4, "right": 12, "bottom": 4},
    )
    # Without Streamlit's chart theme labels have the page's own text colour; its grey is too pale.
    spec = charts.compiled(chart)
    st.vega_lite_chart(spec, width="stretch", theme=None, alt=alt, key=key)


def _part(layer: AttentionLayer) -> str:
    """What is left out, where something is."""
    if max(layer.n_q, layer.n_k) <= views.WINDOW:
        return ""
    return (
        f" The window is {views.WINDOW} positions of {layer.n_q:,} queries and {layer.n_k:,} keys;"
        " each number is exact for the whole text."
    )


def _code(token: Token) -> str:
    """A token's text inside Markdown's code quotes, which nothing but a back quote ends."""
    return views.visible(token.text).replace("`", "ˋ")
