"""What the model got of each token's text: unknown words, other spellings, parts of a character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from attnviz.models.tokenizer_calls import decode, spelling, vocabulary_entry
from attnviz.models.tokens import Token

_BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}  # of byte-level vocabularies


def with_pieces(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[Token]) -> tuple[Token, ...]:
    """The tokens of a text with ``unknown``, ``read``, ``part`` and ``raw`` filled in."""
    unknown_id = tokenizer.unk_token_id
    found: list[Token] = []
    known: dict[tuple[int, str], str | None] = {}
    for first, last in _groups(tokens):
        for k, token in enumerate(tokens[first:last]):
            if token.special or token.start is None:
                found.append(token)
            elif token.id == unknown_id:
                name = vocabulary_entry(tokenizer, token.id)
                found.append(replace(token, unknown=True, read=name))
            elif last - first > 1:
                raw = raw_bytes(vocabulary_entry(tokenizer, token.id))
                found.append(replace(token, part=(k + 1, last - first), raw=raw))
            else:
                at = (token.id, token.text)
                if at not in known:
                    known[at] = _other_spelling(tokenizer, token)
                found.append(token if known[at] is None else replace(token, read=known[at]))
    return tuple(found)


def _groups(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """First and one past the last token of each run that stands for one and the same character."""
    groups: list[tuple[int, int]] = []
    for i, token in enumerate(tokens):
        before = tokens[groups[-1][0]] if groups else None
        if before is not None and _overlap(before, token):
            groups[-1] = (groups[-1][0], i + 1)
        else:
            groups.append((i, i + 1))
    return groups


def _overlap(a: Token, b: Token) -> bool:
    """Whether two neighbors have the same text and span; a space belongs to the first."""
    if a.start is None or a.end is None or b.start is None or a.special or b.special:
        return False
    return a.end == b.end and b.start < a.end and a.text.strip() == b.text.strip()


def _other_spelling(tokenizer: PreTrainedTokenizerBase, token: Token) -> str | None:
    """What the vocabulary has for a token, if that is another text: "cafe" for "Café"."""
    text = token.text.strip()
    if spelling(tokenizer, token.id).strip().removeprefix("##") == text:
        return None
    read = decode(tokenizer, [token.id]).strip().removeprefix("##")
    return None if not read or read == text or "\N{REPLACEMENT CHARACTER}" in read else read


def raw_bytes(entry: str) -> str:
    """The bytes of a vocabulary's entry for a part of a character, as hexadecimal."""
    if entry.startswith("<0x") and entry.endswith(">"):  # sentencepiece
        return entry[3:-1]
    if all(letter in _BYTES for letter in entry):
        return bytes(_BYTES[letter] for letter in entry).hex(" ").upper()
    return entry.encode().hex(" ").upper()
