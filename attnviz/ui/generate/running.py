"""A model that writes: how it draws, how far it has got, and stopping it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.errors import AttnVizError
from attnviz.trace.lengths import check_length, check_room
from attnviz.trace.requests import ModelChoice, Sampling, TraceRequest
from attnviz.ui import model_loading, tracing
from attnviz.ui.executor import Report
from attnviz.ui.generate.head_rows import HeadRef
from attnviz.ui.generate.progress import GenerationProgress, LiveView
from attnviz.ui.lru_cache import Key
from attnviz.ui.query_params import linked_integer
from attnviz.ui.shared import shared
from attnviz.ui.trace_cache import cached, register
from attnviz.ui.waiting import no_report

if TYPE_CHECKING:
    from attnviz.trace.generation import Generation
    from attnviz.trace.model import Model
    from attnviz.trace.trace import Trace

MOST = 1024  # tokens written after one text
_LINK = "written"  # how many tokens have been asked for


class TraceResult(NamedTuple):
    """What is looked at."""

    trace: Trace
    start: int | None = None  # the first token that the model wrote itself; None if it wrote none
    text: str = ""  # what it wrote
    ended: bool = False  # it came to its own end


@dataclass(frozen=True)
class TraceRef:
    """A trace as what outlives a page's run may hold it: by its key.

    Callbacks and fragments stay as long as a person's session, and with the trace itself in them
    each page that stands open would hold one that the cache does not count.
    """

    choice: ModelChoice
    request: TraceRequest
    key: Key

    @property
    def trace(self) -> Trace:
        """From the cache, or made again if it was dropped meanwhile."""
        found = cached(self.key)
        return found or run(self.choice, self.request, no_report).trace


@st.cache_resource
def _running() -> dict[Key, GenerationProgress]:
    """What is being written right now, by its key."""
    return {}


def controls(choice: ModelChoice, model: Model, request: TraceRequest) -> TraceRequest:
    """The buttons and the settings; the request with what the model is to write after it."""
    if not model.module.can_generate():
        return request
    origin = (choice, request)
    if st.session_state.setdefault("_written_after", origin) != origin:
        st.query_params.pop(_LINK, None)  # another text: nothing has been written after it
        st.session_state["_written_after"] = origin
    done = _asked()
    with st.container(horizontal=True, vertical_alignment="center"):
        write, step = st.empty(), st.empty()
        with st.popover("Sampling", icon=":material/tune:"):
            how = _settings()
        write.button(
            "Write",
            icon=":material/edit:",
            on_click=_ask,
            args=(done + how.tokens,),
            disabled=done >= MOST,
            help=f"Let the model write on, up to {how.tokens} tokens or to its own end. "
            "Everything below then shows the whole.",
        )
        step.button("One token", on_click=_ask, args=(done + 1,), disabled=done >= MOST)
        if done:
            st.button("Clear", icon=":material/undo:", on_click=_ask, args=(0,))
    if not done:
        return request
    # what the decoder of an encoder-decoder is given is then what it has written
    return replace(request, target="", sampling=replace(how, tokens=done))


def run(
    choice: ModelChoice,
    request: TraceRequest,
    report: Report,
    limit: int | None = None,
    where: DeltaGenerator | None = None,
    watch: HeadRef | None = None,
) -> TraceResult:
    """What there is to look at: a text's trace, or that of the text with what was written after it.

    Args:
        where: the place for the text while it is written, and for the button that stops it.
        watch: the head whose rows of attention are drawn below the text as they come.

    Raises:
        AttnVizError: as ``tracing.trace``, or a text that would get too long.
    """
    how = request.sampling
    if how is None:
        return TraceResult(tracing.trace(choice, request, report, limit))
    model = model_loading.load(choice, report)
    n = check_length(model, request, limit)
    check_room(model, n, how, limit)
    key: Key = ("written", *model_loading.identity(model), request)
    progress = _running().setdefault(key, GenerationProgress())
    room = (where or st).empty()
    live = LiveView(room, model, request, progress, lambda: _stop(key), watch)

    def watched(ahead: int) -> None:
        report(ahead)
        if not ahead:
            live.draw()

    with progress.waiter(watch):
        made: Generation = shared().work.run(
            key,
            lambda job: _write(model, request, how, key, progress, n),
            shared().values,
            watched,
        )
    _running().pop(key, None)
    room.empty()
    trace = register(made.trace, key)
    return TraceResult(trace, made.start, made.text, len(made.tokens) < how.tokens)


def _write(
    model: Model,
    request: TraceRequest,
    how: Sampling,
    key: Key,
    progress: GenerationProgress,
    n: int,
) -> Generation:
    """All of it; or, stopped half-way, an error after what there is was put where it is found.

    Args:
        n: tokens of the text that is written after.
    """
    keep = tracing.kept(n + how.tokens)
    tracing.make_room(model, n + how.tokens, (*keep, "output"))
    began = _begun(request, how, key)
    after = [token.id for token in began.tokens] if began is not None else []
    try:
        made = model.generate(
            request.text,
            after=after,
            max_new_tokens=how.tokens - len(after),
            temperature=how.temperature,
            top_k=how.top_k or None,
            top_p=how.top_p,
            seed=how.seed,
            keep=keep,
            on_token=lambda step: progress.add(step, before=len(after)),
        )
    finally:
        _running().pop(key, None)
    written = len(made.tokens)
    if progress.stopped and written < how.tokens:
        shared().values.put(_shorter(request, how, key, written), made)
        raise AttnVizError("The writing was stopped.", "Write again to go on.")
    return made


def _begun(request: TraceRequest, how: Sampling, key: Key) -> Generation | None:
    """The longest beginning of the same text that was written before."""
    values = shared().values
    for n in range(how.tokens - 1, 0, -1):
        try:
            found: Generation = values.get(_shorter(request, how, key, n))
        except KeyError:
            continue
        return found
    return None


def _shorter(request: TraceRequest, how: Sampling, key: Key, n: int) -> Key:
    """The key of the same text with n tokens written."""
    return (*key[:-1], replace(request, sampling=replace(how, tokens=n)))


def _settings() -> Sampling:
    """The controls of how a model draws, all in the link; other pages have a seed of their own."""
    temperature = st.slider(
        "Temperature", 0.0, 2.0, 0.0, 0.1, key="draw_temperature", bind="query-params",
        help="0 takes the likeliest token each time; more flattens the odds.",
    )  # fmt: skip
    greedy = temperature == 0
    top_k = linked_integer(
        st, "Top k", 0, 1000, key="draw_top_k", disabled=greedy,
        help="Draw among the k likeliest tokens; 0 among all.",
    )  # fmt: skip
    top_p = st.slider(
        "Top p", 0.05, 1.0, 1.0, 0.05, key="draw_top_p", bind="query-params", disabled=greedy,
        help="Draw among the likeliest tokens that make up this probability.",
    )  # fmt: skip
    seed = linked_integer(
        st, "Seed", 0, 2**31 - 1, key="draw_seed", disabled=greedy,
        help="The same seed draws the same tokens.",
    )  # fmt: skip
    tokens = st.slider("Tokens at a time", 1, 256, 20, key="draw_tokens", bind="query-params")
    if greedy:  # what has no effect makes no difference
        return Sampling(tokens)
    return Sampling(tokens, temperature, top_k, top_p, seed)


def _asked() -> int:
    text = st.query_params.get(_LINK, "")
    return min(int(text), MOST) if text.isdecimal() and len(text) < 6 else 0


def _ask(tokens: int) -> None:
    if tokens:
        st.query_params[_LINK] = str(min(tokens, MOST))
    else:
        st.query_params.pop(_LINK, None)


def _stop(key: Key) -> None:
    """Keep what is there. A text that is done by now stays as it was asked for."""
    progress = _running().get(key)
    if progress is not None:
        _ask(min(progress.stop(), _asked()))
