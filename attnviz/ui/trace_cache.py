"""Which key of the cache a trace has, and values computed from it, cached under that key."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from attnviz.canvas.memo import Memo
from attnviz.ui.executor import Report
from attnviz.ui.lru_cache import Key
from attnviz.ui.shared import shared

if TYPE_CHECKING:
    from attnviz.trace.trace import Trace

T = TypeVar("T")

# Weak: a trace that was dropped takes its key with it.
_KEYS: weakref.WeakKeyDictionary[Trace, Key] = weakref.WeakKeyDictionary()


def register(trace: Trace, key: Key) -> Trace:
    """The trace, whose values are cached under this key from now on."""
    _KEYS.setdefault(trace, key)
    return trace


def key_of(trace: Trace) -> Key:
    """The key that the trace is cached under."""
    return _KEYS[trace]


def cached(key: Key) -> Trace | None:
    """The trace that is cached there, if it still is."""
    try:
        value = shared().values.get(key)
    except KeyError:
        return None
    found: Trace = getattr(value, "trace", value)  # what a model wrote has one
    return found


def remembering(trace: Trace, report: Report) -> Memo:
    """How the values of a trace are come by: from the cache, else from the worker for views."""
    its_key = _KEYS[trace]

    def remember(key: Key, make: Callable[[], T]) -> T:
        values = shared().values
        values.touch(its_key)  # a trace that is looked at is used
        found: T = shared().views.run((*its_key, *key), lambda job: make(), values, report)
        return found

    return remember
