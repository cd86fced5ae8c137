"""The cache key of each trace, and the values computed from a trace, cached under that key."""

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

# Weak references: a dropped trace takes its key along.
_KEYS: weakref.WeakKeyDictionary[Trace, Key] = weakref.WeakKeyDictionary()


def register(trace: Trace, key: Key) -> Trace:
    """Set the key that the values of a trace are cached under; returns the trace."""
    _KEYS.setdefault(trace, key)
    return trace


def key_of(trace: Trace) -> Key:
    """The key that the trace is cached under."""
    return _KEYS[trace]


def cached(key: Key) -> Trace | None:
    """The trace cached under ``key``, if it is still there."""
    try:
        value = shared().values.get(key)
    except KeyError:
        return None
    trace: Trace = getattr(value, "trace", value)  # a Generation holds its trace
    return trace


def trace_memo(trace: Trace, report: Report) -> Memo:
    """The memo of a trace: values come from the cache, or are computed by the executor for views.

    memo = trace_memo(trace, report)
    norms = memo(("norms",), lambda: residual_norms(trace, layer=0))
    """
    trace_key = _KEYS[trace]

    def memo(key: Key, make: Callable[[], T]) -> T:
        values = shared().values
        values.touch(trace_key)  # a trace whose values are used is in use
        value: T = shared().views.run((*trace_key, *key), lambda job: make(), values, report)
        return value

    return memo
