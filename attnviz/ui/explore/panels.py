"""Explore beside the canvas of one head: tokens, receipt, residual stream, predictions.

Each draws into the current container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.analysis import matrices, prediction_text
from attnviz.analysis.verdict import verdict
from attnviz.canvas import CanvasState, matrix_payload, strip_payload
from attnviz.canvas.naming import row_axis, token_names, trace_id
from attnviz.errors import AttnVizError
from attnviz.models.tokens import display_text
from attnviz.ui import tracing
from attnviz.ui.canvas import canvas
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.explore import focus
from attnviz.ui.explore.focus import Focus

if TYPE_CHECKING:
    from attnviz.analysis.matrices import Matrix
    from attnviz.trace.prediction import Prediction
    from attnviz.trace.trace import AttentionLayer
    from attnviz.ui.model_page import PageTrace

STRIP_HEIGHT = 120
STREAM_HEIGHT = 420
BAR = 20  # px, the height of a predicted token

_BADGES = {"green": ":material/check:", "orange": ":material/info:", "red": ":material/block:"}


def tokens(page: PageTrace, layer: AttentionLayer, head: int, at: Focus | None) -> None:
    """The tokens, tinted by what one head does with them. A click brings one into focus."""
    ref = page.ref  # the callback outlives the page's run

    def on_change(state: CanvasState, changed: str) -> None:
        if changed == "token":
            trace = ref.trace
            focus.choose(trace, focus.from_map(trace, layer, state.token))

    payload = strip_payload(
        page.trace,
        layer.index,
        head,
        focus=focus.in_map(page.trace, layer, at),
        start=page.start,
        memo=page.memo,
    )
    canvas(payload, key="tokens", height=STRIP_HEIGHT, source=ref.source, on_change=on_change)


def receipt(page: PageTrace, layer: AttentionLayer) -> None:
    """Whether the layer's map can be trusted, and why; a button checks the rows still unchecked."""
    check = page.trace.fidelity(layer.index, rows="recorded")
    words, button = st.container(), st.empty()
    if check.passed and check.rows < check.total_rows:
        check_all = button.button(
            "Check all rows",
            icon=":material/rule:",
            key="check_all_rows",
            type="tertiary",
            help=f"{check.rows:,} of the layer's {check.total_rows:,} rows, spread over the text, "
            "were verified during the forward pass. Checking all of them runs the model again.",
        )
        if check_all:
            choice, request = page.ref.choice, page.ref.request
            check = tracing.fidelity(choice, request, page.trace, layer.index, page.report)
            button.empty()
    word, color, why = verdict(layer, check)
    words.badge(word, color=color, icon=_BADGES[color])
    words.caption(escape_markdown(why))


def stream(page: PageTrace, layer: AttentionLayer, at: Focus | None) -> None:
    """The norms of the residual stream's vectors, token by token and block by block.

    Raises:
        AttnVizError: the trace kept no stream, with the reason.
    """
    st.caption("Residual stream: the L2 norm of each token's vector after each block.")
    trace = page.trace
    tower = trace.tower_of(layer.index)
    which = layer.kind if tower is None else tower.name
    matrix = page.memo(("stream", which), lambda: matrices.residual_norms(trace, layer.index))
    rows = token_names(trace.row_tokens(layer.index))
    token = focus.in_map(trace, layer, at)
    payload = matrix_payload(
        matrix.values,
        rows if len(rows) == len(matrix.values) else matrix.rows,
        matrix.cols,
        title="Residual stream",
        id=f"{trace_id(trace)}/stream/{which}",
        row_title=matrix.row_title,
        col_title=matrix.col_title,
        value_title=matrix.value_title,
        row_axis=row_axis(trace, layer.index) if len(rows) == len(matrix.values) else None,
        # A first token's norm is often a hundred times the others'.
        scale="percentile",
        focus=token.index if token and token.side == "row" else None,
    )
    canvas(payload, key="stream", height=STREAM_HEIGHT, source=page.ref.source)
    _stream_files(matrix)


def _stream_files(matrix: Matrix) -> None:
    with st.container(horizontal=True):
        for label, make, mime in (
            ("CSV", matrix.csv, "text/csv"),
            ("NPZ", matrix.npz, "application/octet-stream"),
        ):
            st.download_button(
                label,
                make,
                file_name=f"residual-norms.{label.lower()}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"stream_{label}",
                help="The exact norms on screen.",
            )


def predictions(page: PageTrace, at: Focus | None) -> None:
    """The likeliest tokens after a position, or at it for a model that fills in masked tokens."""
    trace, tokenizer = page.trace, page.model.tokenizer
    text = "target" if trace.target_tokens else "source"
    position = at.index if at is not None and at.text == text else None
    missing = prediction_text.missing(trace, tokenizer, position)
    if missing:
        st.caption(escape_markdown(missing))
        return
    try:
        likeliest = page.memo(("predictions", position), lambda: trace.predictions(position))
    except AttnVizError as error:
        st.caption(escape_markdown(str(error)))
        return
    st.caption(escape_markdown(prediction_text.heading(trace, tokenizer, position)))
    _bars(likeliest, trace.task if trace.task in ("class", "label") else "token")


def _bars(likeliest: tuple[Prediction, ...], label_title: str) -> None:
    """The probabilities as bars."""
    words = [display_text(prediction.token) for prediction in likeliest]
    chart = charts.bars(
        np.array([prediction.probability for prediction in likeliest]),
        words,
        label_title=label_title,
        value_title="probability",
        domain=(0.0, 1.0),
    ).properties(
        height=BAR * len(words) + 50,
        autosize={"type": "fit", "contains": "padding"},
        padding={"left": 0, "top": 4, "right": 12, "bottom": 4},
    )
    draw_chart(chart, "predictions", f"The most likely token is {words[0]}", width="stretch")
