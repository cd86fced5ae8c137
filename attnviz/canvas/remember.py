"""What of a payload takes time is made through this, so that whoever asks for it may keep it.

A payload is put together from a few values that are computed from the trace, and from what is
cheap: names, marks, the view. Only the former go through ``remember``, each under a key that says
which of the trace's values it is; a page passes one that looks into its cache first and computes on
the worker threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Remember(Protocol):
    """Gives the value under a key of one trace, by ``make`` if nobody has it."""

    def __call__(self, key: tuple[Hashable, ...], make: Callable[[], T]) -> T: ...


def anew(key: tuple[Hashable, ...], make: Callable[[], T]) -> T:
    """Remembers nothing."""
    return make()
