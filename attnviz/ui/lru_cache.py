"""A cache of finished values, bounded by bytes; the least recently used are dropped first.

cache = LRUCache(budget=memory.budget)
cache.make_room(estimate)          # before a value takes memory of its own
cache.put(("trace", revision, text), trace)
cache.get(("trace", revision, text))

It is not ``cachetools.LRUCache``, whose bound is a fixed number, which refuses a value larger than
that, and which leaves locking to its users. Here the bound follows the memory that the machine has
left, one large value is kept beside a little more, room is made before a value is computed, and
values are released outside of the lock.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

Key = tuple[Hashable, ...]

SMALL = 64 << 20  # bytes of room beside one value that is larger than the whole budget


class LRUCache:
    """Values by key, bounded in bytes and, optionally, in number. Safe to use from several threads.

    Args:
        budget: maps the bytes in the cache to the bytes that may be in it; called whenever a value
            is added.
        max_entries: the largest number of values.
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
        self._nbytes = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        with self._lock:
            return key in self._values

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)

    def __iter__(self) -> Iterator[Key]:
        """The keys, the least recently used first."""
        with self._lock:
            return iter(tuple(self._values))

    @property
    def nbytes(self) -> int:
        """Bytes of all values together."""
        with self._lock:
            return self._nbytes

    def get(self, key: Key) -> Any:
        """The value under ``key``, which counts as used now; KeyError if there is none."""
        with self._lock:
            self._values.move_to_end(key)
            return self._values[key][0]

    def touch(self, key: Key) -> None:
        """Count the value under ``key``, if there is one, as used now."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)

    def put(self, key: Key, value: Any) -> None:
        """Add a value, and drop others until the cache is within its bounds."""
        nbytes = size_of(value)
        with self._lock:
            self._remove(key)
            dropped = self._drop_for(nbytes)
            self._values[key] = (value, nbytes)
            self._nbytes += nbytes
        self._release(dropped)

    def make_room(self, nbytes: int = 0) -> None:
        """Drop what a next value of this size would push out, before it takes memory itself."""
        with self._lock:
            dropped = self._drop_for(nbytes)
        self._release(dropped)

    def free(self, nbytes: int) -> None:
        """Drop values of at least this many bytes, or all there are."""
        with self._lock:
            target = self._nbytes - nbytes
            dropped = []
            while self._values and self._nbytes > target:
                dropped.append(self._remove(next(iter(self._values))))
        self._release(dropped)

    def discard(self, predicate: Callable[[Key], bool]) -> None:
        """Drop every value whose key satisfies ``predicate``."""
        with self._lock:
            dropped = [self._remove(key) for key in list(self._values) if predicate(key)]
        self._release(dropped)

    def _drop_for(self, nbytes: int) -> list[Any]:
        """Remove what one more value of this size leaves no room for; returns what was removed."""
        dropped = []
        while self._max_entries is not None and len(self._values) >= self._max_entries:
            dropped.append(self._remove(next(iter(self._values))))
        if self._budget is not None and self._values:
            largest = max(nbytes, *(size for _, size in self._values.values()))
            limit = max(self._budget(self._nbytes), largest + SMALL)
            while self._values and self._nbytes + nbytes > limit:
                dropped.append(self._remove(next(iter(self._values))))
        return dropped

    def _remove(self, key: Key) -> Any:
        value, nbytes = self._values.pop(key, (None, 0))
        self._nbytes -= nbytes
        return value

    def _release(self, dropped: list[Any]) -> None:
        """Free the values, outside of the lock: that may take a while."""
        if dropped:
            dropped.clear()
            self._on_drop()


def size_of(value: Any) -> int:
    """Bytes of the tensors, arrays, texts and byte strings in a value.

    The attribute ``nbytes`` is taken as it is; of dataclasses and containers the parts are added.
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
