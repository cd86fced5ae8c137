"""The expensive values of a payload go through a memo, so that the caller can cache them.

A payload combines a few values computed from the trace with cheap parts: names, marks, the
viewport. Only the former go through ``memo``, each under a key that identifies the value within the
trace. A page passes a memo that looks into its cache first and computes on a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Memo(Protocol):
    """Returns the value of one trace that is cached under ``key``, or computes it by ``make``."""

    def __call__(self, key: tuple[Hashable, ...], make: Callable[[], T]) -> T: ...


def uncached(key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
    """The memo without a cache: computes the value each time."""
    return make()
