"""Token ids back to text, where the tokenizer gives no offsets: generated ids, slow tokenizers.

Tokens are grouped into the shortest runs that decode to whole characters. Where the source text is
known, each run is then located in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerBase

from attnviz.models import graphemes
from attnviz.models.token_pieces import raw_bytes, with_pieces
from attnviz.models.tokenizer_calls import decode, spelling, vocabulary_entry
from attnviz.models.tokens import Token

MAX_RUN = 8  # tokens of one run; a character of UTF-8 takes up to 4 bytes
MAX_GAP = 64  # characters of the source that may lie between two runs that are found in it

Span = tuple[int, int]


@dataclass(frozen=True)
class _Run:
    """Tokens ``first`` to ``last - 1``, which only together make whole characters: ``text``."""

    first: int
    last: int
    text: str
    special: bool = False


def decode_tokens(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], source: str | None = None
) -> tuple[Token, ...]:
    """The tokens of ``ids``, such as a model has generated.

    Args:
        tokenizer: the tokenizer of the ids.
        ids: the n token ids.
        source: the text that was tokenized, if there is one; spans are located in it.

    Returns:
        n tokens; without ``source`` their start and end are None, and the parts of a character are
        marked.

    Raises:
        AttnVizError: the tokenizer failed.
    """
    runs = list(_runs(tokenizer, ids, set(tokenizer.all_special_ids)))
    if source is not None:
        return tuple(_located(tokenizer, ids, runs, source))
    whole = "".join(run.text for run in runs if not run.special)
    edges = graphemes.boundaries(whole)
    tokens: list[Token] = []
    position = 0
    for run in runs:
        start, end = position, position + (0 if run.special else len(run.text))
        position = end
        for k, token_id in enumerate(ids[run.first : run.last]):
            shown, begin, stop = run.text, start, end
            if not run.special:
                begin, stop = _span_in_run(whole, edges, start, end, k)
                shown = whole[begin:stop]
            text = shown or spelling(tokenizer, token_id)
            tokens.append(Token(text, int(token_id), begin, stop, run.special))
    # Their spans are of the decoded text, which is no source; they say which share a character.
    pieces = [replace(t, start=None, end=None) for t in with_pieces(tokenizer, tokens)]
    return tuple(_spelled_out(tokenizer, t) for t in pieces)


def _spelled_out(tokenizer: PreTrainedTokenizerBase, token: Token) -> Token:
    """A token that begins a character whose other bytes have not come yet: its own bytes."""
    if token.special or token.part or token.text.strip("\N{REPLACEMENT CHARACTER}"):
        return token
    raw = raw_bytes(vocabulary_entry(tokenizer, token.id))
    return replace(token, text=f"<{raw}>", raw=raw)


def _runs(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], special_ids: set[int]
) -> Iterator[_Run]:
    """The shortest runs of tokens that decode to whole characters.

    Each run is decoded together with the one before it, because many tokenizers drop the space at
    the beginning of a text.
    """
    previous = first = 0
    while first < len(ids):
        if ids[first] in special_ids:
            yield _Run(first, first + 1, vocabulary_entry(tokenizer, ids[first]), special=True)
            first += 1
            previous = first
            continue
        before = decode(tokenizer, ids[previous:first])
        last = first
        while True:
            last += 1
            text = decode(tokenizer, ids[previous:last]).removeprefix(before)
            at_end = last == len(ids) or ids[last] in special_ids or last - first == MAX_RUN
            # some decoders mark an incomplete character, others leave its bytes out
            left_out = not text and spelling(tokenizer, ids[last - 1]).strip()
            if at_end or not (left_out or text.endswith("\N{REPLACEMENT CHARACTER}")):
                break
        at_beginning = previous == first
        if at_beginning and spelling(tokenizer, ids[first]).startswith(" ") and text[:1] != " ":
            text = " " + text
        yield _Run(first, last, text)
        previous, first = first, last


def _located(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], runs: Sequence[_Run], source: str
) -> Iterator[Token]:
    """Tokens with their spans in ``source``.

    A run that is not found (an unknown word, a letter that lost its accent) stands for the text
    between its neighbors.
    """
    edges = graphemes.boundaries(source)
    spans = _spans(runs, source)
    for n, run in enumerate(runs):
        span = spans[n] or _gap(spans, n, source)
        for k, token_id in enumerate(ids[run.first : run.last]):
            if span is None:
                text = run.text or spelling(tokenizer, token_id)
                yield Token(text, int(token_id), None, None, run.special)
                continue
            start, end = _span_in_run(source, edges, *span, k)
            text = source[start:end]
            yield Token(text, int(token_id), start, end, run.special and text.strip() == run.text)


def _spans(runs: Sequence[_Run], source: str) -> list[Span | None]:
    """Where each run's text occurs next in ``source``, ignoring case; None if it does not."""
    lowered = source.lower()
    sources = [source, lowered] if len(lowered) == len(source) else [source]
    spans: list[Span | None] = []
    position = 0
    for run in runs:
        text = run.text.strip() or run.text
        limit = position + MAX_GAP + len(text)
        spellings = (text, text.lower())
        found = [s.find(t, position, limit) for s, t in zip(sources, spellings, strict=False) if t]
        start = min((i for i in found if i >= 0), default=None)
        if start is None:
            spans.append(None)
            continue
        leading_space = run.text[:1].isspace() and not source[position:start].strip()
        spans.append((position if leading_space else start, start + len(text)))
        position = start + len(text)
    return spans


def _gap(spans: Sequence[Span | None], n: int, source: str) -> Span | None:
    """The text between the spans around run ``n``, without white space; None if that is all."""
    begin = next((span[1] for span in reversed(spans[:n]) if span is not None), 0)
    end = next((span[0] for span in spans[n:] if span is not None), len(source))
    gap = source[begin:end]
    if not gap.strip():
        return None
    begin += len(gap) - len(gap.lstrip())
    return begin, begin + len(gap.strip())


def _span_in_run(source: str, edges: list[int] | None, start: int, end: int, k: int) -> Span:
    """The span of token ``k`` of a run: a leading space belongs to the first token alone."""
    if k > 0 and source[start:end].strip(" "):
        start = end - len(source[start:end].lstrip(" "))
    return graphemes.widen(edges, start, end)
