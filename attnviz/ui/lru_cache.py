"""Finished values, counted in bytes, the least recently used dropped first.

cache = LRUCache(budget=memory.budget)
cache.make_room(estimate)          # before a value takes memory of its own
cache.put(("trace", revision, text), trace)
cache.get(("trace", revision, text))
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

Key = tuple[Hashable, ...]

SMALL = 64 << 20  # beside one value that is larger than the whole budget there is this much room


class LRUCache:
    """Values by key, bounded in bytes and, if asked for, in number.

    Args:
        budget: given the bytes held, how many may be held; asked whenever something is added.
        max_entries: how many values are kept at most.
        on_drop: called after values were dropped, outside of the lock.
    """

    def __init__(
        self,
        budget: Callable[[int], int] | None = None,
        max_entries: int | None = None,
        on_drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._budget = budget
        self._max_entries = max_entries
        self._on_drop = on_drop
        self._values: OrderedDict[Key, tuple[Any, int]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._values

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)

    def __iter__(self) -> Iterator[Key]:
        """The keys, the one not used for longest first."""
        with self._lock:
            return iter(tuple(self._values))

    @property
    def nbytes(self) -> int:
        """Bytes of all values together."""
        with self._lock:
            return self._held

    def get(self, key: Key) -> Any:
        """The value under ``key``, which counts as used now; KeyError if it isn't there."""
        with self._lock:
            self._values.move_to_end(key)
            return self._values[key][0]

    def touch(self, key: Key) -> None:
        """Count the value under ``key``, if there is one, as used now."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)

    def put(self, key: Key, value: Any) -> None:
        """Keep a value, and drop what there is no room for any more; never the value itself."""
        nbytes = size_of(value)
        with self._lock:
            self._remove(key)
            dropped = self._drop(nbytes, 1)
            self._values[key] = (value, nbytes)
            self._held += nbytes
        self._dropped(dropped)

    def make_room(self, nbytes: int = 0) -> None:
        """Drop what a next value of this size would push out, before it takes memory itself."""
        with self._lock:
            dropped = self._drop(nbytes, 1)
        self._dropped(dropped)

    def free(self, nbytes: int) -> None:
        """Drop values of at least so many bytes, or all there are."""
        with self._lock:
            least = self._held - nbytes
            dropped = []
            while self._values and self._held > least:
                dropped.append(self._remove(next(iter(self._values))))
        self._dropped(dropped)

    def discard(self, which: Callable[[Key], bool]) -> None:
        """Drop every value whose key ``which`` says yes to."""
        with self._lock:
            dropped = [self._remove(key) for key in list(self._values) if which(key)]
        self._dropped(dropped)

    def _drop(self, nbytes: int, entries: int) -> list[Any]:
        """Make room for values of so many bytes and such a number; what was dropped."""
        dropped = []
        most = None if self._max_entries is None else self._max_entries - entries
        while most is not None and len(self._values) > most:
            dropped.append(self._remove(next(iter(self._values))))
        if self._budget is not None and self._values:
            largest = max(nbytes, *(size for _, size in self._values.values()))
            limit = max(self._budget(self._held), largest + SMALL)
            while self._values and self._held + nbytes > limit:
                dropped.append(self._remove(next(iter(self._values))))
        return dropped

    def _remove(self, key: Key) -> Any:
        value, nbytes = self._values.pop(key, (None, 0))
        self._held -= nbytes
        return value

    def _dropped(self, values: list[Any]) -> None:
        """Let go of values outside of the lock: that may take a while."""
        if values:
            values.clear()
            self._on_drop()


def size_of(value: Any) -> int:
    """Bytes of the tensors, arrays, texts and byte strings in a value.

    What says its own size (``nbytes``) is believed; of dataclasses and containers the parts count.
    """
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(size_of(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(size_of, value))
    if is_dataclass(value) and not isinstance(value, type):
        return sum(size_of(getattr(value, field.name)) for field in fields(value))
    return 0
