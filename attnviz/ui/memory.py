"""How much memory the server may fill, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache

import torch

from attnviz.models import limits

LEAST = 64 << 20  # a few pages' worth, however little is free
MOST = 768 << 20  # two traces of 2,000 tokens of a 30-layer model, and what is seen of them
SHARE = 4  # of what is free, one in so many


def budget(held: int) -> int:
    """Bytes that finished values may take, of which ``held`` are taken now.

    It follows the memory that the machine and the container have left: other programs come and go.
    """
    free = max(0, limits.available_memory())
    return max(LEAST, min(MOST, (free + held) // SHARE))


def freeze_gc() -> None:
    """Put what lives long out of the garbage collector's sight.

    Streamlit collects all generations after every script run. With torch and a model loaded, 50
    sessions rerunning at once took 11.5 s that way and 0.5 s after this.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def tidy() -> None:
    """Find what is held by nothing but itself, and return the memory: 0.3 s in which nothing else
    runs, so for when a model went, whose parts hold each other."""
    freeze_gc()
    give_back()


def give_back() -> None:
    """Return freed memory to the system.

    glibc keeps what was freed for later, in pieces between what is still in use, and a server's
    size would stay at its peak; torch does the same with a GPU's. Other C libraries are let be.
    """
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim  # type: ignore[no-any-return]
    except (OSError, TypeError, AttributeError):  # Windows, macOS, musl
        return None
