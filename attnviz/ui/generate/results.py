"""What a request results in: a text's trace, or that of the text and what the model generated.

result = trace_result(choice, request, report)
result.trace
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.analysis.generation_rows import HeadRef
from attnviz.canvas.naming import source_line
from attnviz.errors import AttnVizError
from attnviz.trace.lengths import check_length, check_room
from attnviz.trace.requests import ModelChoice, Sampling, TraceRequest
from attnviz.ui import model_loading, tracing
from attnviz.ui.executor import JobStatus, Report
from attnviz.ui.generate.live_view import LiveView
from attnviz.ui.generate.progress import GenerationProgress
from attnviz.ui.generate.sampling import request_tokens, requested_tokens
from attnviz.ui.lru_cache import Key
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import cached, register
from attnviz.ui.waiting import no_report

if TYPE_CHECKING:
    from attnviz.trace.generation import Generation
    from attnviz.trace.model import Model
    from attnviz.trace.trace import Trace


class TraceResult(NamedTuple):
    """A trace, and which part of its text the model generated.

    Attributes:
        start: position of the first generated token; None if none was generated.
        text: the generated text.
    """

    trace: Trace
    start: int | None = None
    text: str = ""


@dataclass(frozen=True)
class TraceRef:
    """A trace by its key, for what outlives a page's run.

    Callbacks and fragments live as long as a session. With the trace itself in them, each open page
    would keep one alive that the cache does not count.
    """

    choice: ModelChoice
    request: TraceRequest
    key: Key

    @property
    def trace(self) -> Trace:
        """From the cache, or made again if it was dropped."""
        trace = cached(self.key)
        return trace or trace_result(self.choice, self.request, no_report).trace

    @property
    def source(self) -> str:
        """The model and what it read, for saved pictures and files."""
        name = self.choice.name
        model = Path(name).name if Path(name).is_absolute() else name
        if self.request.image_digest:
            return f"{model} · an image"
        return source_line(self.trace, model)


@st.cache_resource
def _running() -> dict[Key, GenerationProgress]:
    """The generations that run now."""
    return {}


def trace_result(
    choice: ModelChoice,
    request: TraceRequest,
    report: Report,
    limit: int | None = None,
    where: DeltaGenerator | None = None,
    head: HeadRef | None = None,
) -> TraceResult:
    """The trace of a request, from the cache or through the executor.

    Args:
        limit: longest text, in tokens.
        where: the container for the live view of a generation.
        head: the head whose rows of attention the live view draws.

    Raises:
        AttnVizError: as ``tracing.trace``, or a text that would get too long.
    """
    sampling = request.sampling
    if sampling is None:
        return TraceResult(tracing.trace(choice, request, report, limit))
    model = model_loading.load(choice, report)
    n = check_length(model, request, limit)
    check_room(model, n, sampling, limit)
    key: Key = ("written", *model_loading.identity(model), request)
    progress = _running().setdefault(key, GenerationProgress())
    placeholder = (where or st).empty()
    live_view = LiveView(placeholder, model, request, progress, lambda: _stop(key), head)

    def report_and_draw(status: JobStatus) -> None:
        report(status)
        if not status.ahead:
            live_view.draw()

    with progress.viewer(head):
        generation: Generation = shared().work.run(
            key,
            lambda job: _generate(model, request, sampling, key, progress, n),
            shared().values,
            report_and_draw,
        )
    _running().pop(key, None)
    placeholder.empty()
    return TraceResult(register(generation.trace, key), generation.start, generation.text)


def _generate(
    model: Model,
    request: TraceRequest,
    sampling: Sampling,
    key: Key,
    progress: GenerationProgress,
    n: int,
) -> Generation:
    """Generate all requested tokens, continuing the longest cached beginning of the same text.

    Args:
        n: tokens of the prompt.

    Raises:
        AttnVizError: stopped halfway. The tokens so far are then cached under their own key.
    """
    keep = tracing.what_to_keep(n + sampling.tokens)
    tracing.make_room(model, n + sampling.tokens, (*keep, "output"))
    beginning = _cached_beginning(request, sampling, key)
    after = [token.id for token in beginning.tokens] if beginning is not None else []
    try:
        generation = model.generate(
            request.text,
            after=after,
            max_new_tokens=sampling.tokens - len(after),
            temperature=sampling.temperature,
            top_k=sampling.top_k or None,
            top_p=sampling.top_p,
            seed=sampling.seed,
            keep=keep,
            on_token=lambda step: progress.add(step, before=len(after)),
        )
    finally:
        _running().pop(key, None)
    n_tokens = len(generation.tokens)
    if progress.stopped and n_tokens < sampling.tokens:
        shared().values.put(_key_of_fewer(request, sampling, key, n_tokens), generation)
        raise AttnVizError("Generation was stopped.", "Press Generate to continue.")
    return generation


def _cached_beginning(request: TraceRequest, sampling: Sampling, key: Key) -> Generation | None:
    """The longest beginning of the same text in the cache."""
    values = shared().values
    for n_tokens in range(sampling.tokens - 1, 0, -1):
        try:
            beginning: Generation = values.get(_key_of_fewer(request, sampling, key, n_tokens))
        except KeyError:
            continue
        return beginning
    return None


def _key_of_fewer(request: TraceRequest, sampling: Sampling, key: Key, n_tokens: int) -> Key:
    """The key of the same request with fewer tokens."""
    return (*key[:-1], replace(request, sampling=replace(sampling, tokens=n_tokens)))


def _stop(key: Key) -> None:
    """Stop a generation and request the tokens so far; one that is finished by now stays whole."""
    progress = _running().get(key)
    if progress is not None:
        request_tokens(min(progress.stop(), requested_tokens()))
