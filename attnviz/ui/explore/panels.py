"""Parts of the Explore page: summary, tokens, receipt, residual stream, predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.analysis import matrices
from attnviz.analysis.verdict import verdict
from attnviz.canvas import CanvasState, matrix_payload, strip_payload
from attnviz.canvas.naming import token_names, trace_id
from attnviz.errors import AttnVizError
from attnviz.models.tokens import display_text
from attnviz.ui.canvas import canvas
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.explore import focus
from attnviz.ui.explore.focus import Focus

if TYPE_CHECKING:
    from attnviz.canvas.memo import Memo
    from attnviz.models.tokens import Token
    from attnviz.trace.fidelity import Fidelity
    from attnviz.trace.model import Model
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.generate.running import TraceRef

STRIP_HEIGHT = 250
STREAM_HEIGHT = 420

_BADGES = {"green": ":material/check:", "orange": ":material/info:", "red": ":material/block:"}


def summary(name: str, model: Model, trace: Trace) -> str:
    """A model in one line."""
    shown = next((layer for layer in trace.layers if layer.n_heads), trace.layers[0])
    grouped = shown.n_kv_heads != shown.n_heads
    heads = f"{shown.n_heads} heads" + (f" ({shown.n_kv_heads} key/value)" if grouped else "")
    number = str(model.dtype).removeprefix("torch.")
    return f"{name} · {len(trace.layers)} layers of {heads} · {number} on {model.device}"


def tokens(
    seen: TraceRef,
    layer: AttentionLayer,
    head: int,
    at: Focus | None,
    start: int | None,
    remember: Memo,
) -> None:
    """The tokens, tinted by what one head does with them. A click brings one into focus.

    Args:
        start: the first token that the model wrote itself, if it wrote any: those have a mark.
    """

    def told(said: CanvasState, what: str) -> None:
        if what == "token":
            focus.choose(seen.trace, focus.from_map(seen.trace, layer, said.token))

    trace = seen.trace
    place = focus.in_map(trace, layer, at)
    payload = strip_payload(trace, layer.index, head, focus=place, start=start, memo=remember)
    canvas(payload, key="tokens", height=STRIP_HEIGHT, on_change=told)


def receipt(trace: Trace, layer: AttentionLayer, check_all: Callable[[], Fidelity]) -> None:
    """Whether the layer's map can be trusted, and why.

    Args:
        check_all: compares all rows, which takes a pass of the model.
    """
    check = trace.fidelity(layer.index, rows="recorded")
    words, button = st.container(), st.empty()
    if check.passed and check.rows < check.total_rows:
        asked = button.button(
            "Check all rows",
            icon=":material/rule:",
            key="check_all_rows",
            type="tertiary",
            help=f"{check.rows:,} of the layer's {check.total_rows:,} rows, spread over the text, "
            "were checked as the model ran. Checking all of them runs it once more.",
        )
        if asked:
            check = check_all()
            button.empty()
    word, color, why = verdict(layer, check)
    words.badge(word, color=color, icon=_BADGES[color])
    words.caption(escape_markdown(why))


def stream(trace: Trace, layer: AttentionLayer, at: Focus | None, remember: Memo) -> None:
    """How long the residual stream's vectors are, token by token and block by block.

    Raises:
        AttnVizError: the trace kept no stream, with the reason.
    """
    st.caption("Residual stream: the length of each token's vector after each block.")
    tower = trace.tower_of(layer.index)
    which = layer.kind if tower is None else tower.name
    matrix = remember(("stream", which), lambda: matrices.residual_norms(trace, layer.index))
    rows = token_names(trace.row_tokens(layer.index))
    place = focus.in_map(trace, layer, at)
    payload = matrix_payload(
        matrix.values,
        rows if len(rows) == len(matrix.values) else matrix.rows,
        matrix.cols,
        title="Residual stream",
        id=f"{trace_id(trace)}/stream/{which}",
        row_title=matrix.row_title,
        col_title=matrix.col_title,
        value_title=matrix.value_title,
        # A first token's norm is often a hundred times the others'.
        scale="percentile",
        focus=place.index if place and place.side == "row" else None,
    )
    canvas(payload, key="stream", height=STREAM_HEIGHT)
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
                help="The exact norms.",
            )


def predictions(model: Model, trace: Trace, at: Focus | None, remember: Memo) -> None:
    """The likeliest tokens after a position, or at it for a model that guesses what is masked."""
    read = predicted(trace)
    text = "target" if trace.target_tokens else "source"
    position = at.index if at is not None and at.text == text else None
    last = len(read) - 1
    mask = getattr(model.tokenizer, "mask_token_id", None)
    if trace.task == "fill" and position is None and all(token.id != mask for token in read):
        word = getattr(model.tokenizer, "mask_token", None)
        write = f"Write {word} in the text, or click a token," if word else "Click a token"
        st.caption(escape_markdown(f"{write} to see what it expects."))
        return
    if trace.task == "label" and position is None:
        st.caption("Click a token to see its label.")
        return
    kept = 0 if trace.logits is None else len(trace.logits)
    if trace.task == "next" and kept == 1 and position not in (None, last):
        st.caption("Of a text this long only the last position's prediction is kept.")
        return
    try:
        found = remember(("predictions", position), lambda: trace.predictions(position))
    except AttnVizError as error:
        st.caption(escape_markdown(str(error)))
        return
    label = trace.task if trace.task in ("class", "label") else "token"
    if trace.task == "class":
        what = "image" if model.tokenizer is None else "text"
        where = f"The class of the whole {what}"
    elif trace.task == "next":
        where = f"Next token after {_told(read, last if position is None else position)}"
    else:
        where = "At the mask" if position is None else f"At {_told(read, position)}"
    st.caption(escape_markdown(where))
    words = [display_text(prediction.token) for prediction in found]
    height = 20 * len(words) + 50
    chart = charts.bars(
        np.array([prediction.probability for prediction in found]),
        words,
        label_title=label,
        value_title="probability",
        domain=(0.0, 1.0),
    ).properties(
        height=height,
        autosize={"type": "fit", "contains": "padding"},
        padding={"left": 0, "top": 4, "right": 12, "bottom": 4},
    )
    draw_chart(chart, "predictions", f"The likeliest token is {words[0]}", width="stretch")


def predicted(trace: Trace) -> tuple[Token, ...]:
    """The tokens whose positions the logits are of."""
    return trace.target_tokens or trace.tokens


def _told(read: tuple[Token, ...], position: int) -> str:
    return f"{position} “{display_text(read[position].text)}”"
