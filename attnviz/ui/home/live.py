"""Home's numbers from the model itself, as soon as it is loaded.

Torch and the model are loaded by a thread of their own, and only once the first picture is on
screen: an import holds the interpreter that has to serve the page. Nothing that this module imports
loads torch.
"""

from __future__ import annotations

import threading

from attnviz.errors import AttnVizError
from attnviz.ui.executor import Report
from attnviz.ui.home.views import MODEL, TEXT, LayerView, SentenceView, kept, layer_name

_started = threading.Lock()  # held from the first warm-up on
_loaded = threading.Event()


def is_loaded() -> bool:
    """Whether the model has been loaded since the server started."""
    return _loaded.is_set()


def has_painted() -> bool:
    """Whether any visitor has had the first picture since the server started."""
    return _started.locked()


def warm_up() -> None:
    """Load the model in the background, once, and what Explore first shows of it."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_load, name="home-warm-up", daemon=True).start()


def is_warming_up() -> bool:
    """Whether a warm-up was started that has not loaded the model yet."""
    return has_painted() and not is_loaded()


def _load() -> None:
    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.ui import tracing
    from attnviz.ui.waiting import no_report

    try:
        tracing.trace(ModelChoice(MODEL), TraceRequest(TEXT), no_report)
        sentence(TEXT, no_report)
    except AttnVizError:
        return  # without the model Home shows what it keeps, and Explore says what is missing
    _loaded.set()


def sentence(text: str, report: Report) -> SentenceView:
    """A text in the model, through the executor; cached.

    Raises:
        AttnVizError: the model can't be loaded, or the text is empty or too long.
    """
    from attnviz.trace.lengths import check_length
    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.ui import model_loading
    from attnviz.ui.home.computed_views import MAX_TOKENS, sentence_view
    from attnviz.ui.shared import shared

    model = model_loading.load(ModelChoice(MODEL), report)
    n = check_length(model, TraceRequest(text))
    if n > MAX_TOKENS:
        raise AttnVizError(
            f"The text has {n:,} tokens, and this page shows at most {MAX_TOKENS}.",
            "Open it in Explore, which takes longer texts.",
        )
    key = ("home", *model_loading.identity(model), text)
    made: SentenceView = shared().work.run(
        key, lambda job: sentence_view(model, text), shared().values, report
    )
    return made


def layer(text: str, d_model: int, n_heads: int) -> LayerView:
    """A random layer over the words of a text: kept for the page's own text, else computed.

    Raises:
        AttnVizError: the text has no words, or too many.
    """
    if text == TEXT and (made := kept()["layers"].get(layer_name(d_model, n_heads))):
        return made
    from attnviz.ui.home.computed_views import layer_view

    return layer_view(text, d_model, n_heads)
