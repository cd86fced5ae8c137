"""Checks that a text, and what is to be generated after it, is within the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.errors import AttnVizError
from attnviz.models.text_encoding import count, longest_input
from attnviz.trace.requests import Sampling, TraceRequest

if TYPE_CHECKING:
    from attnviz.trace.model import Model


def check_length(model: Model, request: TraceRequest, limit: int | None = None) -> int:
    """The number of tokens of the longest text.

    Raises:
        AttnVizError: no text, or one over the limit.
    """
    if request.image or model.tokenizer is None:
        return 0
    if not request.text:
        raise AttnVizError("The text is empty.", "Type or paste some text.")
    n = count(model.tokenizer, request.text, request.pair or None)
    if request.target:
        n = max(n, count(model.tokenizer, request.target))
    if limit is not None and n > limit:
        raise AttnVizError(
            f"The text has {n:,} tokens and the limit is {limit:,}.",
            "Shorten it, or raise the limit under Device and limits.",
        )
    return n


def check_room(model: Model, n: int, sampling: Sampling, limit: int | None) -> None:
    """Checks the length that a text of n tokens will have after generation.

    Raises:
        AttnVizError: more than ``limit``, or more than the model can read.
    """
    before = 0 if model.architecture == "encoder-decoder" else n
    bounds = (limit, longest_input(model.module, model.tokenizer))
    longest = min((bound for bound in bounds if bound is not None), default=None)
    if longest is not None and before + sampling.tokens > longest:
        raise AttnVizError(
            f"With {sampling.tokens:,} generated tokens the text would have "
            f"{before + sampling.tokens:,}; the maximum is {longest:,}.",
            "Generate fewer, shorten the text, or raise the limit under Device and limits.",
        )
