"""Grapheme clusters: what a reader sees as one character, often several code points.

An emoji with a skin tone or a letter with combining accents is one cluster. A token's span is
widened to whole clusters, so that no half of one is ever shown.
"""

from __future__ import annotations

import bisect

import regex  # type: ignore[import-untyped]


def boundaries(text: str) -> list[int] | None:
    """The offsets at which clusters begin and end; None if each is one code point (ASCII)."""
    if text.isascii():
        return None
    return [0, *(match.end() for match in regex.finditer(r"\X", text))]


def widen(edges: list[int] | None, start: int, end: int) -> tuple[int, int]:
    """The smallest span of whole clusters around ``start`` to ``end``; empty spans stay empty.

    Args:
        edges: the `boundaries` of the text.
        start: the first offset. end: the last, exclusive.
    """
    if edges is None or start == end:
        return start, end
    begin = edges[bisect.bisect_right(edges, start) - 1]
    return begin, edges[bisect.bisect_left(edges, end)]
