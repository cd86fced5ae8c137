"""The frame of a page that shows a model: choose, load, read, trace. The last view stays.

    page = ModelPage("Entropy", "How widely each head attends.")
    view = page.trace()                              # model and text, in one bar
    layer, head = choose_head(view.trace)            # sliders
    values = view.memo(("entropy", layer.index, head), lambda: my_numbers(view.trace, layer, head))
    draw_chart(charts.bars(values, ...), key="entropy", alt="Entropy of each query")
    page.done()

A new page is such a script in ``pages/`` and an ``st.Page`` in app.py's ``PAGES``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from attnviz.ui import head_choice, model_loading, query_params
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.generate.results import TraceRef, trace_result
from attnviz.ui.model_controls import model_controls
from attnviz.ui.request_controls import request_controls
from attnviz.ui.trace_cache import key_of, trace_memo
from attnviz.ui.waiting import queue_status

if TYPE_CHECKING:
    from attnviz.canvas.memo import Memo
    from attnviz.trace.model import Model
    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.trace.trace import Trace
    from attnviz.ui.executor import Report
    from attnviz.ui.generate.results import TraceResult

_CSS = Path(__file__).with_suffix(".css")

# Draws the controls of what the model reads; None until there is something to read.
ReadRequest = Callable[["ModelChoice", "Model"], "TraceRequest | None"]


class PageTrace(NamedTuple):
    """What a page shows, and how it computes from it.

    Attributes:
        ref: the trace by its key, for fragments and callbacks.
        start: position of the first token that the model generated; None if it generated none.
        generated: the text of those tokens.
        report: shows the position in the queue while the page waits; see ``Executor.run``.
        memo: caches values computed from the trace.
    """

    model: Model
    trace: Trace
    ref: TraceRef
    start: int | None
    generated: str
    report: Report
    memo: Memo


class ModelPage:
    """A page's model and its trace, with the bar that chooses them.

    The last view that worked stays on screen while a choice or a text doesn't work.

    Attributes:
        bar: the container of the controls; what a page adds to it follows them.
    """

    def __init__(self, title: str, summary: str) -> None:
        """Draw the bar's first part, which chooses the model.

        Args:
            title: of the page, before the model's summary.
            summary: shown in its place until there is a model to summarize.
        """
        st.html(_CSS)
        query_params.begin_page()
        self._summary_key = f"_summary_of_{title}"
        self._last_key = f"_last_of_{title}"  # the choice and the request of the last view
        self.bar = st.container(key="model_bar", horizontal=True, vertical_alignment="bottom")
        self._errors = st.container()
        with st.container(key="model_summary", horizontal=True, vertical_alignment="center"):
            st.header(title, anchor=False, width="content")
            self._summary, self._waiting = st.empty(), st.empty()
            settings = st.container(width="content")
        with self.bar.container(width=220):
            self._controls = model_controls(settings)
        self._show_summary(st.session_state.get(self._summary_key, summary))

    def trace(self, read: ReadRequest = request_controls) -> PageTrace:
        """Load the chosen model, read what it is to be traced on, and trace it.

        Where the choice or the text doesn't work, this is the last view that did. Without any, the
        page ends here.

        Args:
            read: draws the page's own controls, in place of the usual text boxes or image upload.
        """
        choice, model = self._load()
        with self.bar:
            request = read(choice, model)
        errors = self._errors
        if request is None:
            errors.caption("Upload an image to see how the model attends to its patches.")
            st.stop()
        new = (choice, request)
        note = "showing the previous view" if self._last() not in (None, new) else ""
        doing = "Generating" if request.sampling else "Tracing"
        report = queue_status(self._waiting, doing, note)
        limit, head = self._controls.limit, head_choice.last_chosen()
        result = attempt(lambda: trace_result(*new, report, limit, errors, head), errors)
        if result is not None:
            st.session_state[self._last_key] = new
        elif last := self._last():
            choice, request = last
            model = model_loading.load(choice, report)
            result = trace_result(choice, request, report)
            errors.caption("Showing the last view that worked.")
        else:
            st.stop()
        self._summarize(choice, model, result)
        ref = TraceRef(choice, request, key_of(result.trace))
        memo = trace_memo(result.trace, report)
        return PageTrace(model, result.trace, ref, result.start, result.text, report, memo)

    def done(self) -> None:
        """The page waits for nothing more: clear the position in the queue."""
        self._waiting.empty()
        query_params.end_page()

    def _load(self) -> tuple[ModelChoice, Model]:
        """The chosen model, or that of the last view."""
        report = queue_status(self._waiting, "Loading the model")
        choice, last = self._controls.choice, self._last()
        model = self._try_to_load(choice, report) if choice else None
        if model is None and last:
            choice = last[0]
            model = self._try_to_load(choice, report)
        if choice is None or model is None:
            self._show_summary("Choose a model.")
            st.stop()
        return choice, model

    def _try_to_load(self, choice: ModelChoice, report: Report) -> Model | None:
        return attempt(lambda: model_loading.load(choice, report), self._controls.errors)

    def _last(self) -> tuple[ModelChoice, TraceRequest] | None:
        """The choice and the request of the last view that worked in this session."""
        last: tuple[ModelChoice, TraceRequest] | None = st.session_state.get(self._last_key)
        return last

    def _summarize(self, choice: ModelChoice, model: Model, result: TraceResult) -> None:
        """Put the model in one line below the title."""
        summary = escape_markdown(_summary(choice.name, model, result.trace))
        st.session_state[self._summary_key] = summary
        self._show_summary(summary, " ".join(model.notes))

    def _show_summary(self, summary: str, notes: str = "") -> None:
        self._summary.caption(summary, help=notes or None)


def _summary(name: str, model: Model, trace: Trace) -> str:
    """``smollm2-135m · 30 layers of 9 heads (3 key/value) · float32 on cpu``"""
    layer = next((layer for layer in trace.layers if layer.n_heads), trace.layers[0])
    grouped = layer.n_kv_heads != layer.n_heads
    heads = f"{layer.n_heads} heads" + (f" ({layer.n_kv_heads} key/value)" if grouped else "")
    dtype = str(model.dtype).removeprefix("torch.")
    return f"{name} · {len(trace.layers)} layers of {heads} · {dtype} on {model.device}"
