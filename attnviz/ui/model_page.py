"""What comes before anything is looked at: choose, load, read, trace. The last view stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from attnviz.ui import model_loading, sidebar
from attnviz.ui.error_display import attempt, escape_markdown
from attnviz.ui.explore import focus, panels
from attnviz.ui.generate import running as generation
from attnviz.ui.generate.running import TraceRef
from attnviz.ui.trace_cache import key_of, trace_memo
from attnviz.ui.waiting import queue_status

if TYPE_CHECKING:
    from attnviz.canvas.memo import Memo
    from attnviz.trace.model import Model
    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.trace.trace import Trace
    from attnviz.ui.executor import Report

_ABOUT = "explore_about"  # the summary of the last view
_LAST = "explore_last"  # its model's choice and its request
_WATCH = "explore_watch"  # the layer and head on screen


class PageTrace(NamedTuple):
    """What there is to look at, and how its values are computed and cached."""

    model: Model
    trace: Trace
    seen: TraceRef
    start: int | None  # the first token that the model wrote itself; None if it wrote none
    report: Report
    remember: Memo


class ModelPage:
    """A page's header, its model and its trace.

    The last view that worked stays on screen while a choice or a text doesn't.
    """

    def __init__(self, title: str, about: str) -> None:
        """Draw the header and the sidebar.

        Args:
            about: below the title until there is a model to summarize.
        """
        st.header(title, anchor=False)
        with st.container(horizontal=True):
            self._about, self._waiting = st.empty(), st.empty()
        self._about.caption(st.session_state.get(_ABOUT, about))
        self._choice, self._limit, self._beside = sidebar.model_controls()
        self._last = st.session_state.get(_LAST)

    def load(self) -> tuple[ModelChoice, Model]:
        """The chosen model, or the last one that worked; without any, the page ends here."""
        report = queue_status(self._waiting, "Loading the model")
        choice = self._choice
        model = self._loaded(choice, report) if choice else None
        if model is None and self._last:
            choice = self._last[0]
            model = self._loaded(choice, report)
        if choice is None or model is None:
            self._about.caption("Choose a model in the sidebar.")
            st.stop()
        return choice, model

    def _loaded(self, choice: ModelChoice, report: Report) -> Model | None:
        return attempt(lambda: model_loading.load(choice, report), self._beside)

    def trace(self, choice: ModelChoice, model: Model, request: TraceRequest | None) -> PageTrace:
        """The request's trace, or the last one that worked; without any, the page ends here."""
        beside = st.container()
        if request is None:
            beside.caption("Upload an image to see how the model attends to its patches.")
            st.stop()
        report = queue_status(self._waiting, "Writing" if request.sampling else "Tracing")
        watch = st.session_state.get(_WATCH, (0, 0))  # of what is written the rows of this head
        wanted = (choice, request)
        shown = attempt(lambda: generation.run(*wanted, report, self._limit, beside, watch), beside)
        if shown is not None:
            st.session_state[_LAST] = wanted
        elif self._last:
            choice, request = self._last
            model = model_loading.load(choice, report)
            shown = generation.run(choice, request, report)
            beside.caption("Below is the last view that worked.")
        else:
            st.stop()
        trace = shown.trace
        focus.settle((choice, replace(request, sampling=None)))
        st.session_state[_ABOUT] = escape_markdown(panels.summary(choice.name, model, trace))
        self._about.caption(st.session_state[_ABOUT], help=" ".join(model.notes) or None)
        seen = TraceRef(choice, request, key_of(trace))
        return PageTrace(model, trace, seen, shown.start, report, trace_memo(trace, report))

    def watch(self, layer: int, head: int) -> None:
        """Whose rows are drawn the next time that the model writes."""
        st.session_state[_WATCH] = (layer, head)

    def done(self) -> None:
        """Nothing is waited for any longer."""
        self._waiting.empty()
