"""Calls of a tokenizer: its failures as an `AttnVizError`, a token's spelling, decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers import PreTrainedTokenizerBase

from attnviz.errors import AttnVizError, is_panic


@contextmanager
def tokenizer_errors() -> Iterator[None]:
    """Turns whatever a tokenizer raises within into an `AttnVizError`, its Rust panics too.

    Raises:
        AttnVizError: the tokenizer failed.
    """
    try:
        yield
    except BaseException as error:  # a panic in Rust arrives as a BaseException
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = str(error)[:200].rstrip(".") or type(error).__name__
        raise AttnVizError(
            f"The model's tokenizer failed: {reason}.",
            "Its files may be damaged; choose another model.",
        ) from error


def vocabulary_entry(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """The token as the vocabulary spells it, e.g. ``Ġthe`` or ``[CLS]``."""
    return str(tokenizer.convert_ids_to_tokens(int(token_id)))


def spelling(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    """The token as the vocabulary spells it, with the markers of a space turned into one."""
    return vocabulary_entry(tokenizer, token_id).replace("▁", " ").replace("Ġ", " ")


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of ``ids``, special tokens included and spaces left as they are.

    Raises:
        AttnVizError: the tokenizer failed.
    """
    with tokenizer_errors():
        text = tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    return str(text)
