"""Untrusted JSON, bounded before and while it is parsed.

Python's parser takes any number of values, any depth and integers of any length: a file of a few
megabytes can take minutes, and memory of a hundred times its size.
"""

from __future__ import annotations

import json
from typing import Any

MAX_VALUES = 2**19  # the index of the largest sharded models has some 100,000
MAX_DEPTH = 32  # published configs reach six
MAX_DIGITS = 40  # "no limit" is often written as 10^30


def parse(raw: bytes, max_values: int = MAX_VALUES) -> Any:
    """The JSON value in ``raw``.

    Args:
        raw: the bytes of a file, already bounded in length.
        max_values: how many values it may hold, at all levels together.

    Raises:
        ValueError: not JSON, or it has too many values, too deep nesting or too long integers.
    """
    # Every value but the first follows one of these. Those inside strings are counted too, so the
    # count is never too low.
    if sum(map(raw.count, (b",", b"[", b"{"))) >= max_values:
        raise ValueError(f"more than {max_values:,} values")
    try:
        value = json.loads(raw, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for parent in level for item in _items(parent)]
        if not level:
            return value
    raise ValueError("nested too deep")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _items(value: Any) -> Any:
    """The values directly inside an object or an array; none for any other value."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
