"""Text as tokens, each with the text that a person reads in its place.

A token's text is the stretch of the source it stands for, never the tokenizer's own spelling: no
``##``, no ``Ġ``, no broken bytes. Where a character takes several tokens (Chinese, emoji, a letter
with its accents) each of them shows the whole character and has the same span. Spaces in front of a
word belong to its token where the tokenizer counts them to it, as GPT-2's does and BERT's doesn't.
"""

from __future__ import annotations

import bisect
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import regex  # type: ignore[import-untyped]
import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError, is_panic
from attnviz.models.checkpoint import Checkpoint

MAX_CHARACTERS = 4_000_000  # of one text, looked at before it is tokenised
MAX_PARTS = 8  # tokens that one run of incomplete characters may take; UTF-8 needs 4 for one
MAX_GAP = 64  # characters of the source that may stand for unknown tokens between two known ones
PATCH_ID = -1  # of what has no place in a vocabulary

_HIDDEN = frozenset({"Cc", "Cf"})  # controls, and what only changes how its neighbours are written
_JOINS = regex.compile("[\u200c\u200d\U000e0020-\U000e007f]")  # parts of letters, emoji and flags

# Their position table begins with rows for padding, so it holds fewer tokens than it has rows.
_PADDED_POSITIONS = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "esm"}
    | {"data2vec-text", "ibert", "longformer", "mpnet", "layoutlmv3", "markuplm", "lilt"}
    | {"luke"}
)
# What configs call the number of positions; the first that is there counts.
_POSITIONS = (
    "max_position_embeddings", "max_encoder_position_embeddings", "max_target_positions",
    "max_seq_len",
)  # fmt: skip


@dataclass(frozen=True)
class Token:
    """One position of a model's input.

    Attributes:
        text: what a person reads: a stretch of the source, or a special token's name.
        id: its number in the vocabulary, -1 for an image patch.
        start: where its text begins in the source, counted in characters; None without a source.
            In the second segment of a pair, counted in that segment.
        end: where it ends.
        special: whether it stands for no text, as ``[CLS]`` does.
    """

    text: str
    id: int
    start: int | None
    end: int | None
    special: bool = False


def visible(text: str) -> str:
    """A token's text with white space and hidden characters that a person can see."""
    text = text.replace("\n", "↵").replace("\t", "⇥")
    drawn = any(unicodedata.category(c) not in _HIDDEN for c in text)
    shown = "".join(
        f"U+{ord(c):04X}"
        if unicodedata.category(c) in _HIDDEN and not (drawn and _JOINS.match(c))
        else c
        for c in text
    )
    return shown if shown.strip() else shown.replace(" ", "␣") or "∅"


def encode(
    source: Checkpoint | PreTrainedTokenizerBase, text: str, pair: str | None = None
) -> tuple[dict[str, torch.Tensor], tuple[Token, ...]]:
    """What the model is given for `text`, and its tokens.

    Args:
        source: a checkpoint, whose model's longest input is then observed and on whose device the
            tensors are; or a tokenizer alone.
        text: what a person wrote.
        pair: a second segment, for encoders that take two.

    Returns:
        The tokenizer's tensors, each (1, n), with the special tokens it adds by itself and no
        others, and the n tokens.

    Raises:
        AttnVizError: no tokenizer, one that fails, an empty text, or one too long.
    """
    tokenizer = source.tokenizer if isinstance(source, Checkpoint) else source
    if tokenizer is None:
        raise AttnVizError("This model has no tokenizer, so it takes no text.")
    for segment in (text, pair):
        if segment is not None:
            _check_text(segment)
    with reading():
        encoding = tokenizer(
            text,
            pair,
            return_offsets_mapping=tokenizer.is_fast,
            return_special_tokens_mask=True,
            verbose=False,
        )
    if isinstance(source, Checkpoint):
        _check_length(len(encoding["input_ids"]), source.module, tokenizer)
    read = _fast_tokens if tokenizer.is_fast else _slow_tokens
    tokens = read(tokenizer, encoding, text, pair)
    if all(token.special for token in tokens):
        raise AttnVizError("The text holds nothing that this model reads.", "Type some words.")
    names = [name for name in tokenizer.model_input_names if name in encoding]
    device = source.device if isinstance(source, Checkpoint) else None
    return {name: torch.tensor([encoding[name]], device=device) for name in names}, tokens


def count(tokenizer: PreTrainedTokenizerBase, text: str, pair: str | None = None) -> int:
    """How many tokens `text`, and `pair` behind it, are for the model, special ones included.

    Raises:
        AttnVizError: a text that no tokenizer reads, or a tokenizer that fails on it.
    """
    for segment in (text, pair):
        if segment is not None:
            _check_text(segment)
    with reading():
        return len(tokenizer(text, pair, verbose=False)["input_ids"])


@contextmanager
def reading() -> Iterator[None]:
    """Turns whatever a tokenizer raises within into a sentence, the panics of its Rust code too.

    Raises:
        AttnVizError: it failed.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        words = str(error)[:200].rstrip(".") or type(error).__name__
        raise AttnVizError(
            f"The model's tokenizer failed: {words}.",
            "Its files may be damaged; choose another model.",
        ) from error


def decode_tokens(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], source: str | None = None
) -> tuple[Token, ...]:
    """The tokens of `ids`, such as a model has generated.

    Args:
        tokenizer: the one they belong to.
        ids: the n numbers.
        source: the text they were made from, where there is one; spans are found in it.

    Returns:
        n tokens; without `source` their start and end are None.
    """
    names = set(tokenizer.all_special_ids)
    runs = list(_runs(tokenizer, ids, names))
    if source is not None:
        return tuple(_aligned(tokenizer, ids, runs, source))
    whole = "".join(run.text for run in runs if not run.special)
    edges = _character_edges(whole)
    tokens: list[Token] = []
    position = 0
    for run in runs:
        start, end = position, position + (0 if run.special else len(run.text))
        position = end
        for k, i in enumerate(ids[run.first : run.last]):
            shown = run.text if run.special else _part(whole, edges, start, end, k)
            tokens.append(Token(shown or _piece(tokenizer, i), int(i), None, None, run.special))
    return tuple(tokens)


def patches(grid: tuple[int, int], special_prefix: int | Sequence[str] = 0) -> tuple[Token, ...]:
    """The tokens of an image: ``patch 0,1`` is the second patch of the first row.

    Args:
        grid: rows and columns of patches.
        special_prefix: the names of the tokens in front of them, or how many there are (the first
            is then taken to be ``[CLS]``).
    """
    if isinstance(special_prefix, int):
        others = [f"[extra {i}]" for i in range(1, special_prefix)]
        special_prefix = ["[CLS]", *others][:special_prefix]
    rows, columns = grid
    front = [Token(name, PATCH_ID, None, None, special=True) for name in special_prefix]
    places = [(r, c) for r in range(rows) for c in range(columns)]
    return (*front, *(Token(f"patch {r},{c}", PATCH_ID, None, None) for r, c in places))


def longest_input(
    module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> int | None:
    """How many tokens the model was built to read; None where positions set no bound."""
    config = module.config.get_text_config()
    sizes = (getattr(config, name, None) for name in _POSITIONS)
    positions = next((n for n in sizes if n is not None), None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.model_type in _PADDED_POSITIONS:
        padding = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        positions -= padding + 1
    most = getattr(tokenizer, "model_max_length", None)
    if not isinstance(most, (int, float)) or not most > 0:  # its settings may say anything
        return positions
    return int(min(positions, most))


def _check_text(text: str) -> None:
    if not text:
        raise AttnVizError("The text is empty.", "Type some words.")
    if len(text) > MAX_CHARACTERS:
        raise AttnVizError(
            f"The text has {len(text):,} characters, and at most {MAX_CHARACTERS:,} are read.",
            "Shorten it.",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise AttnVizError(
            "The text holds half of a character (a lone surrogate).", "Type it again."
        ) from None


def _check_length(n: int, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    most = longest_input(module, tokenizer)
    if most is not None and n > most:
        raise AttnVizError(
            f"The text is {n:,} tokens long, and this model reads at most {most:,}.",
            "Shorten it, or choose a model that reads more.",
        )


def _fast_tokens(
    tokenizer: PreTrainedTokenizerBase, encoding: BatchEncoding, text: str, pair: str | None
) -> tuple[Token, ...]:
    """Tokens by the tokenizer's own offsets."""
    segments = [text, pair or ""]
    edges = [_character_edges(segment) for segment in segments]
    special_ids = set(tokenizer.all_special_ids)
    tokens = []
    columns = (encoding[key] for key in ("input_ids", "offset_mapping", "special_tokens_mask"))
    for i, (start, end), added, which in zip(*columns, encoding.sequence_ids(), strict=True):
        if added or which is None:
            tokens.append(Token(_name(tokenizer, i), i, None, None, special=True))
            continue
        start, end = _widen(edges[which], start, end)
        read = segments[which][start:end]
        written = i in special_ids and read.strip() == _name(tokenizer, i)
        tokens.append(Token(read or _piece(tokenizer, i), i, start, end, special=written))
    return tuple(tokens)


def _slow_tokens(
    tokenizer: PreTrainedTokenizerBase, encoding: BatchEncoding, text: str, pair: str | None
) -> tuple[Token, ...]:
    """Tokens of a tokenizer without offsets: what they decode to, found again in the text."""
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
            tokens += [Token(_name(tokenizer, i), i, None, None, special=True) for i in part]
        else:
            tokens += decode_tokens(tokenizer, part, source=segments[0])
            segments = segments[1:] or segments
        first = last
    return tuple(tokens)


@dataclass(frozen=True)
class _Run:
    """Tokens first to last - 1, which only together make whole characters: `text`."""

    first: int
    last: int
    text: str
    special: bool = False


def _runs(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], special_ids: set[int]
) -> Iterator[_Run]:
    """The shortest runs of tokens that decode to whole characters.

    Each is decoded behind the run before it, since many tokenizers drop the space in front of what
    they take for the beginning of a text.
    """
    behind = first = 0
    while first < len(ids):
        if ids[first] in special_ids:
            yield _Run(first, first + 1, _name(tokenizer, ids[first]), special=True)
            first += 1
            behind = first
            continue
        before = _decode(tokenizer, ids[behind:first])
        last = first
        while True:
            last += 1
            after = _decode(tokenizer, ids[behind:last])
            text = after.removeprefix(before)
            ended = last == len(ids) or ids[last] in special_ids or last - first == MAX_PARTS
            # some decoders mark the bytes of half a character, others leave them out
            unread = not text and _piece(tokenizer, ids[last - 1]).strip()
            if ended or not (unread or text.endswith("\N{REPLACEMENT CHARACTER}")):
                break
        if behind == first and _piece(tokenizer, ids[first]).startswith(" ") and text[:1] != " ":
            text = " " + text
        yield _Run(first, last, text)
        behind, first = first, last


def _aligned(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], runs: Sequence[_Run], source: str
) -> Iterator[Token]:
    """Tokens with their places in `source`.

    A run that is not found (an unknown word, a letter that lost its accent) stands for what lies
    between its neighbours.
    """
    edges = _character_edges(source)
    places = _places(runs, source)
    for n, run in enumerate(runs):
        place = places[n]
        if place is None:
            begin = next((p[1] for p in reversed(places[:n]) if p is not None), 0)
            end = next((p[0] for p in places[n:] if p is not None), len(source))
            gap = source[begin:end]
            if gap.strip():
                begin += len(gap) - len(gap.lstrip())
                place = begin, begin + len(gap.strip())
        for k, i in enumerate(ids[run.first : run.last]):
            if place is None:
                yield Token(run.text or _piece(tokenizer, i), int(i), None, None, run.special)
                continue
            start, end = _span(source, edges, *place, k)
            shown = source[start:end]
            yield Token(shown, int(i), start, end, run.special and shown.strip() == run.text)


def _places(runs: Sequence[_Run], source: str) -> list[tuple[int, int] | None]:
    """Where each run's text occurs next in `source`, upper and lower case alike."""
    lowered = source.lower()
    sources = [source, lowered] if len(lowered) == len(source) else [source]
    places: list[tuple[int, int] | None] = []
    position = 0
    for run in runs:
        text = run.text.strip() or run.text
        most = position + MAX_GAP + len(text)
        wanted = (text, text.lower())
        found = [s.find(t, position, most) for s, t in zip(sources, wanted, strict=False) if t]
        place = min((p for p in found if p >= 0), default=None)
        if place is None:
            places.append(None)
            continue
        spaces_led = run.text[:1].isspace() and not source[position:place].strip()
        places.append((position if spaces_led else place, place + len(text)))
        position = place + len(text)
    return places


def _part(source: str, edges: list[int] | None, start: int, end: int, k: int) -> str:
    start, end = _span(source, edges, start, end, k)
    return source[start:end]


def _span(source: str, edges: list[int] | None, start: int, end: int, k: int) -> tuple[int, int]:
    """The span of token `k` of a run: the space in front belongs to the first alone."""
    if k > 0 and source[start:end].strip(" "):
        start = end - len(source[start:end].lstrip(" "))
    return _widen(edges, start, end)


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    with reading():
        text = tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
    return str(text)


def _name(tokenizer: PreTrainedTokenizerBase, i: int) -> str:
    return str(tokenizer.convert_ids_to_tokens(int(i)))


def _piece(tokenizer: PreTrainedTokenizerBase, i: int) -> str:
    """The tokenizer's spelling of a token, its marks for a space turned into one."""
    return _name(tokenizer, i).replace("▁", " ").replace("Ġ", " ")


def _character_edges(text: str) -> list[int] | None:
    """Where a reader's characters begin and end; None where each is one code point."""
    if text.isascii():
        return None
    return [0, *(match.end() for match in regex.finditer(r"\X", text))]


def _widen(edges: list[int] | None, start: int, end: int) -> tuple[int, int]:
    """The span of whole characters that holds the span from `start` to `end`."""
    if edges is None or start == end:
        return start, end
    begin = edges[bisect.bisect_right(edges, start) - 1]
    return begin, edges[bisect.bisect_left(edges, end)]
