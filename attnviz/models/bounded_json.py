"""JSON from files that anybody may have made, bounded before and while it is read.

Python's reader takes any number of values, any depth and integers of any length: a file of a few
megabytes can ask for minutes and for a hundred times its size.
"""

from __future__ import annotations

import json
from typing import Any

MAX_VALUES = 2**19  # the index of the largest sharded models has some 100,000
MAX_DEPTH = 32  # published configs reach six
MAX_DIGITS = 40  # "no limit" is often written as 10^30


def parse(raw: bytes, most_values: int = MAX_VALUES) -> Any:
    """The value that `raw` holds.

    Raises:
        ValueError: not JSON, or more values, a deeper nesting or longer integers than are read.
    """
    # each value but the first stands behind one of these; inside strings they only count too much
    if sum(map(raw.count, (b",", b"[", b"{"))) >= most_values:
        raise ValueError(f"more than {most_values:,} values")
    try:
        value = json.loads(raw, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for one in level for item in _items(one)]
        if not level:
            return value
    raise ValueError("nested too deep")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _items(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
