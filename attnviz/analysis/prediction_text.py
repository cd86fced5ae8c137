"""What a model's predictions are for, in words, and what is missing where there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnviz.models.tokens import display_text

NEIGHBORS = 8  # tokens before a prediction that decide how it is written


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from attnviz.models.tokens import Token
    from attnviz.trace.prediction import Prediction
    from attnviz.trace.trace import Trace


def predicted_tokens(trace: Trace) -> tuple[Token, ...]:
    """The tokens at the positions of the logits."""
    return trace.target_tokens or trace.tokens


def missing(
    trace: Trace, tokenizer: PreTrainedTokenizerBase | None, position: int | None
) -> str | None:
    """What to do first to see predictions; None if there are some."""
    tokens = predicted_tokens(trace)
    mask_id = getattr(tokenizer, "mask_token_id", None)
    if trace.task == "fill" and position is None and all(t.id != mask_id for t in tokens):
        mask = getattr(tokenizer, "mask_token", None)
        action = f"Type {mask} in the text, or click a token," if mask else "Click a token"
        return f"{action} to see the model's predictions there."
    if trace.task == "label" and position is None:
        return "Click a token to see its label."
    n_kept = 0 if trace.logits is None else len(trace.logits)
    if trace.task == "next" and n_kept == 1 and position not in (None, len(tokens) - 1):
        return "For a text this long, only the last position's prediction is kept."
    return None


def heading(trace: Trace, tokenizer: PreTrainedTokenizerBase | None, position: int | None) -> str:
    """Which position of which text the predictions are for."""
    tokens = predicted_tokens(trace)
    if trace.task == "class":
        return f"The class of the whole {'image' if tokenizer is None else 'text'}"
    if trace.task == "next":
        last = len(tokens) - 1
        return f"Next token after {_named(tokens, last if position is None else position)}"
    return "At the mask" if position is None else f"At {_named(tokens, position)}"


def _named(tokens: tuple[Token, ...], position: int) -> str:
    return f"{position} “{display_text(tokens[position].text)}”"


def text_with(
    trace: Trace, tokenizer: PreTrainedTokenizerBase | None, prediction: Prediction, text: str
) -> str | None:
    """The text with a prediction added at its end, or in place of its mask.

    Args:
        text: what was traced, with what the model generated after it.

    Returns:
        None where there is no such text: a special token, part of a character, a class.
    """
    if tokenizer is None or prediction.id in tokenizer.all_special_ids or trace.target_tokens:
        return None
    if trace.task == "fill":
        mask = tokenizer.mask_token
        word = tokenizer.decode([prediction.id]).strip()
        piece = tokenizer.convert_ids_to_tokens(prediction.id)
        if not mask or text.count(mask) != 1 or piece.startswith("##"):
            return None
        return text.replace(mask, word)
    if trace.task != "next":
        return None
    ids = [token.id for token in trace.tokens[-NEIGHBORS:] if not token.special]
    before = tokenizer.decode(ids)
    after = tokenizer.decode([*ids, prediction.id])
    if not after.startswith(before) or "\ufffd" in after[len(before) :]:
        return None
    return text + after[len(before) :]
