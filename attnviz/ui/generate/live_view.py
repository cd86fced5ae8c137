"""What a page shows while a model generates: the text so far, a stop button, a head's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz import charts
from attnviz.analysis.generation_rows import ROWS, HeadRef, Row, rows_matrix
from attnviz.models.text_encoding import encode
from attnviz.models.token_decoding import decode_tokens
from attnviz.trace.requests import TraceRequest
from attnviz.ui.charting import draw_chart
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.generate.progress import GenerationProgress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from attnviz.trace.model import Model

CELL = 14  # px, the height of a row
AXES = 110  # px, above and below the rows


class LiveView:
    """The placeholder of a page, filled as tokens come."""

    def __init__(
        self,
        placeholder: DeltaGenerator,
        model: Model,
        request: TraceRequest,
        progress: GenerationProgress,
        stop: Callable[[], None],
        head: HeadRef | None,
    ) -> None:
        """
        Args:
            stop: callback of the stop button.
            head: the head whose rows are drawn; None draws the text alone.
        """
        self._placeholder = placeholder
        self._model = model
        self._request = request
        self._progress = progress
        self._stop = stop
        self._head = head
        self._n_tokens = request.sampling.tokens if request.sampling else 0
        self._text: DeltaGenerator | None = None
        self._below_text: DeltaGenerator | None = None
        self._chart: _RowsChart | None = None
        self._n_drawn = 0

    def draw(self) -> None:
        """Draw what has come since the last call."""
        tokenizer = self._model.tokenizer
        if tokenizer is None:
            return
        if self._text is None:
            with self._placeholder.container():
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.button("Stop", icon=":material/stop:", on_click=self._stop)
                    self._text = st.empty()
                self._below_text = st.empty()
        ids = self._progress.ids()
        text = str(tokenizer.decode(ids, skip_special_tokens=True))
        self._text.caption(f"{len(ids)} tokens: {escape_markdown(text)}")
        if self._head is not None and len(ids) > self._n_drawn:
            self._n_drawn = len(ids)
            self._draw_rows(tokenizer, self._head)

    def _draw_rows(self, tokenizer: PreTrainedTokenizerBase, head: HeadRef) -> None:
        kind, rows, ids = self._progress.rows_of(head)
        if not rows or self._below_text is None:
            return
        if self._chart is None:
            with self._below_text.container():
                self._chart = _RowsChart(self._n_tokens)
        text = [token.text for token in decode_tokens(tokenizer, ids)]
        keys = text[:-1]  # the newest token has not been read yet
        if kind == "cross":
            source = encode(self._model.loaded, self._request.text)[1]
            keys = [token.text for token in source]
        self._chart.draw(rows, [text[row.query] for row in rows], keys)


class _RowsChart:
    """A chart of as many rows as will come, so that nothing below it moves.

    It is not a canvas: Streamlit takes a keyed component once a run, and mounts one without a key
    anew each time it is sent.
    """

    def __init__(self, n_tokens: int) -> None:
        st.caption("What the selected head attends to, token by token:")
        frame = st.container(height=AXES + CELL * min(n_tokens, ROWS), border=False)
        self._placeholder = frame.empty()

    def draw(self, rows: Sequence[Row], queries: Sequence[str], keys: Sequence[str]) -> None:
        draw_chart(
            rows_chart(rows, queries, keys),
            None,
            f"Attention of the newest {len(rows)} tokens",
            where=self._placeholder,
        )


def rows_chart(rows: Sequence[Row], queries: Sequence[str], keys: Sequence[str]) -> charts.Chart:
    """The rows as a heatmap; the arguments are those of `rows_matrix`."""
    matrix = rows_matrix(rows, queries, keys)
    return charts.heatmap(
        matrix.values,
        matrix.rows,
        matrix.cols,
        domain=(0.0, 1.0),
        masked=matrix.masked,
        size=(max(6, min(CELL, 640 // len(matrix.cols))) * len(matrix.cols), CELL * len(rows)),
    )
