"""Explore beside the canvas of one head: tokens, receipt, residual stream.

Each draws into the current container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from attnviz.analysis import matrices
from attnviz.analysis.verdict import verdict
from attnviz.canvas import CanvasState, matrix_payload, strip_payload
from attnviz.canvas.naming import row_axis, token_names, trace_id
from attnviz.glossary import term
from attnviz.ui import tracing
from attnviz.ui.canvas import canvas
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.explore import focus
from attnviz.ui.explore.focus import Focus

if TYPE_CHECKING:
    from attnviz.analysis.matrices import Matrix
    from attnviz.trace.trace import AttentionLayer
    from attnviz.ui.model_page import PageTrace

STRIP_HEIGHT = 240  # at most, opened
STREAM_HEIGHT = 420

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
    canvas(
        payload,
        key="tokens",
        height=STRIP_HEIGHT,
        compact=True,
        source=ref.source,
        on_change=on_change,
    )


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
    st.caption(
        "Residual stream: the L2 norm of each token's vector after each block.",
        help=term("residual"),
    )
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
