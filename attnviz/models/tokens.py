"""What a token is: one position of a model's input, and the text that stands for it on screen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

PATCH_ID = -1  # the id of tokens that are not in a vocabulary: image patches

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf"})  # control characters and format characters
# Format characters that are part of a letter, an emoji or a flag.
_JOINERS = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")


@dataclass(frozen=True)
class Token:
    """One position of a model's input.

    Attributes:
        text: the substring of the source that it stands for, or a special token's name.
        id: its row in the vocabulary, -1 for an image patch.
        start: where its text begins in the source, in characters; None without a source. In the
            second segment of a pair, counted from the beginning of that segment.
        end: where its text ends, exclusive.
        special: whether it stands for no text, as ``[CLS]`` does.
        unknown: whether the text is not in the vocabulary; ``read`` is then ``[UNK]``.
        read: what the model got, where that is another text: "cafe" for "Café".
        part: which part of a character it is, and of how many: (1, 3) of the three of "天".
        raw: the bytes of such a part, as hexadecimal.
    """

    text: str
    id: int
    start: int | None
    end: int | None
    special: bool = False
    unknown: bool = False
    read: str | None = None
    part: tuple[int, int] | None = None
    raw: str = ""

    @property
    def shown(self) -> str:
        """Its text without anything that the model did not get."""
        text = self.text if self.read is None else self.read
        return text if self.part is None else f"{text} {self.part[0]}/{self.part[1]}"


def display_text(text: str) -> str:
    """A token's text with white space and hidden characters replaced by visible symbols."""
    text = text.replace("\n", "↵").replace("\t", "⇥")
    has_glyph = any(unicodedata.category(c) not in _HIDDEN_CATEGORIES for c in text)
    shown = "".join(
        f"U+{ord(c):04X}"
        if unicodedata.category(c) in _HIDDEN_CATEGORIES and not (has_glyph and _JOINERS.match(c))
        else c
        for c in text
    )
    return shown if shown.strip() else shown.replace(" ", "␣") or "∅"


def patches(grid: tuple[int, int], special_prefix: int | Sequence[str] = 0) -> tuple[Token, ...]:
    """The tokens of an image: ``patch 0,1`` is the second patch of the first row.

    Args:
        grid: rows and columns of patches.
        special_prefix: the names of the tokens before the patches, or how many there are (the
            first is then taken to be ``[CLS]``).
    """
    if isinstance(special_prefix, int):
        others = [f"[extra {i}]" for i in range(1, special_prefix)]
        special_prefix = ["[CLS]", *others][:special_prefix]
    rows, columns = grid
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    return (
        *(Token(name, PATCH_ID, None, None, special=True) for name in special_prefix),
        *(Token(f"patch {r},{c}", PATCH_ID, None, None) for r, c in cells),
    )
