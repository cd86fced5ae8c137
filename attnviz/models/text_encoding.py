"""Text to a model's input tensors and to tokens that show the text they stand for.

A token's text is a substring of the source, never the vocabulary's spelling: no ``##``, no ``Ġ``,
no broken bytes. Where a character takes several tokens (Chinese, emoji, a letter with its accents),
each of them shows the whole character and has the same span. The space before a word belongs to its
token where the tokenizer counts it as part of that token, as GPT-2's does and BERT's does not.
"""

from __future__ import annotations

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.models import graphemes
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.token_decoding import decode_tokens
from attnviz.models.token_pieces import with_pieces
from attnviz.models.tokenizer_calls import spelling, tokenizer_errors, vocabulary_entry
from attnviz.models.tokens import Token

MAX_CHARACTERS = 4_000_000  # of one text, checked before it is tokenized

# Models whose position table begins with rows for padding, so that it takes fewer tokens than rows.
_PADDED_POSITIONS = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "esm"}
    | {"data2vec-text", "ibert", "longformer", "mpnet", "layoutlmv3", "markuplm", "lilt"}
    | {"luke"}
)
# What configs call the number of positions; the first one present counts.
_POSITION_COUNTS = (
    "max_position_embeddings", "max_encoder_position_embeddings", "max_target_positions",
    "max_seq_len",
)  # fmt: skip


def encode(
    source: LoadedModel | PreTrainedTokenizerBase, text: str, pair: str | None = None
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...]]:
    """The model's input tensors for ``text``, and its tokens.

    Args:
        source: a loaded model, whose longest input is then enforced and on whose device the tensors
            are; or just a tokenizer.
        text: the text.
        pair: a second segment, for encoders that take two.

    Returns:
        The tokenizer's tensors, each (1, n), with the special tokens it adds by itself and no
        others, and the n tokens.

    Raises:
        AttnVizError: no tokenizer, one that fails, an empty text, or one too long.
    """
    tokenizer = source.tokenizer if isinstance(source, LoadedModel) else source
    if tokenizer is None:
        raise AttnVizError("This model has no tokenizer, so it cannot read text.")
    _check_texts(text, pair)
    with tokenizer_errors():
        encoding = tokenizer(
            text,
            pair,
            return_offsets_mapping=tokenizer.is_fast,
            return_special_tokens_mask=True,
            verbose=False,
        )
    if isinstance(source, LoadedModel):
        _check_length(len(encoding["input_ids"]), source.module, tokenizer)
    to_tokens = _tokens_by_offset if tokenizer.is_fast else _tokens_by_decoding
    with tokenizer_errors():
        tokens = with_pieces(tokenizer, to_tokens(tokenizer, encoding, text, pair))
    if all(token.special for token in tokens):
        raise AttnVizError("The text contains nothing this model can read.", "Type some words.")
    names = [name for name in tokenizer.model_input_names if name in encoding]
    device = source.device if isinstance(source, LoadedModel) else None
    return {name: torch.tensor([encoding[name]], device=device) for name in names}, tokens


def count(tokenizer: PreTrainedTokenizerBase, text: str, pair: str | None = None) -> int:
    """The number of tokens of ``text`` and ``pair`` together, special ones included.

    Raises:
        AttnVizError: a text that cannot be tokenized, or a tokenizer that fails on it.
    """
    _check_texts(text, pair)
    with tokenizer_errors():
        return len(tokenizer(text, pair, verbose=False)["input_ids"])


def longest_input(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> int | None:
    """The most tokens that the model reads; None where its positions set no bound."""
    config = module.config.get_text_config()
    counts = (getattr(config, name, None) for name in _POSITION_COUNTS)
    positions = next((n for n in counts if n is not None), None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.model_type in _PADDED_POSITIONS:
        padding = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        positions -= padding + 1
    limit = getattr(tokenizer, "model_max_length", None)
    if not isinstance(limit, (int, float)) or not limit > 0:  # tokenizer_config.json is unchecked
        return positions
    return int(min(positions, limit))


def _check_texts(text: str, pair: str | None) -> None:
    for segment in (text, pair):
        if segment is not None:
            _check_text(segment)


def _check_text(text: str) -> None:
    if not text:
        raise AttnVizError("The text is empty.", "Type some words.")
    if len(text) > MAX_CHARACTERS:
        raise AttnVizError(
            f"The text has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}.",
            "Shorten it.",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AttnVizError(
            "The text holds half of a character (a lone surrogate).", "Type it again."
        ) from None


def _check_length(n: int, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    limit = longest_input(module, tokenizer)
    if limit is not None and n > limit:
        raise AttnVizError(
            f"The text is {n:,} tokens long, and this model's maximum is {limit:,}.",
            "Shorten it, or choose a model with a longer context.",
        )


def _tokens_by_offset(
    tokenizer: PreTrainedTokenizerBase, encoding: BatchEncoding, text: str, pair: str | None
) -> tuple[Token, ...]:
    """Tokens of a fast tokenizer, which gives offsets."""
    segments = [text, pair or ""]
    edges = [graphemes.boundaries(segment) for segment in segments]
    special_ids = set(tokenizer.all_special_ids)
    tokens = []
    columns = (encoding[key] for key in ("input_ids", "offset_mapping", "special_tokens_mask"))
    rows = zip(*columns, encoding.sequence_ids(), strict=True)
    for token_id, (start, end), added, segment in rows:
        if added or segment is None:
            name = vocabulary_entry(tokenizer, token_id)
            tokens.append(Token(name, token_id, None, None, special=True))
            continue
        start, end = graphemes.widen(edges[segment], start, end)
        shown = segments[segment][start:end]
        # a special token may also be typed, e.g. "[SEP]" in the text
        typed = token_id in special_ids and shown.strip() == vocabulary_entry(tokenizer, token_id)
        tokens.append(
            Token(shown or spelling(tokenizer, token_id), token_id, start, end, special=typed)
        )
    return tuple(tokens)


def _tokens_by_decoding(
    tokenizer: PreTrainedTokenizerBase, encoding: BatchEncoding, text: str, pair: str | None
) -> tuple[Token, ...]:
    """Tokens of a tokenizer without offsets: what they decode to, located in the text."""
    ids, added = encoding["input_ids"], encoding["special_tokens_mask"]
    tokens: list[Token] = []
    segments = [text] if pair is None else [text, pair]
    first = 0
    while first < len(ids):
        last = first + 1
        while last < len(ids) and bool(added[last]) == bool(added[first]):
            last += 1
        part = ids[first:last]
        if added[first]:
            names = [(vocabulary_entry(tokenizer, i), i) for i in part]
            tokens += [Token(name, i, None, None, special=True) for name, i in names]
        else:
            tokens += decode_tokens(tokenizer, part, source=segments[0])
            segments = segments[1:] or segments
        first = last
    return tuple(tokens)
