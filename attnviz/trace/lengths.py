"""Whether a text, and what is to be written after it, is within the limit, before work begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.errors import AttnVizError
from attnviz.models.text_encoding import count, longest_input
from attnviz.trace.requests import Sampling, TraceRequest

if TYPE_CHECKING:
    from attnviz.trace.model import Model


def check_length(model: Model, request: TraceRequest, limit: int | None = None) -> int:
    """The longest text's number of tokens; refused over the limit, before anything is computed."""
    if request.image or model.tokenizer is None:
        return 0
    if not request.text:
        raise AttnVizError("The text is empty.", "Type or paste something.")
    n = count(model.tokenizer, request.text, request.pair or None)
    if request.target:
        n = max(n, count(model.tokenizer, request.target))
    if limit is not None and n > limit:
        raise AttnVizError(
            f"The text has {n:,} tokens and the limit is {limit:,}.",
            "Shorten it, or raise the limit in the sidebar.",
        )
    return n


def check_room(model: Model, n: int, how: Sampling, limit: int | None) -> None:
    """Refuse a text that would grow past what is allowed or what the model can read."""
    before = 0 if model.architecture == "encoder-decoder" else n
    bounds = (limit, longest_input(model.module, model.tokenizer))
    most = min((bound for bound in bounds if bound is not None), default=None)
    if most is not None and before + how.tokens > most:
        raise AttnVizError(
            f"With {how.tokens:,} tokens written the text would have {before + how.tokens:,}, and "
            f"the most is {most:,}.",
            "Write fewer, shorten the text, or raise the limit in the sidebar.",
        )
