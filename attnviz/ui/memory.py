"""How much memory cached values may take, and returning freed memory to the system."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache

import torch

from attnviz.models import limits

MIN_BUDGET = 64 << 20  # enough for a few pages, however little is free
MAX_BUDGET = 768 << 20  # two traces of 2,000 tokens in a 30-layer model, and their values
SHARE = 4  # the budget is the free memory divided by this


def budget(cached: int) -> int:
    """Bytes that cached values may take.

    It follows the memory that the machine and the container have left: other programs come and go.

    Args:
        cached: bytes that they take now.
    """
    free = max(0, limits.available_memory())
    return max(MIN_BUDGET, min(MAX_BUDGET, (free + cached) // SHARE))


def freeze_gc() -> None:
    """Exclude all objects that are alive now from garbage collection.

    Streamlit collects all generations after every script run. With torch and a model loaded, 50
    sessions rerunning at once took 11.5 s that way and 0.5 s after this.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def collect_and_trim() -> None:
    """Collect unreachable cycles, and return the memory to the system.

    It blocks all threads for 0.3 s, so it is for when a model was dropped, whose parts refer to
    each other.
    """
    freeze_gc()
    trim()


def trim() -> None:
    """Return freed memory to the system.

    glibc keeps freed blocks for later use, and the server's size would stay at its peak; torch does
    the same with a GPU's memory. With other C libraries this does nothing for the CPU's.
    """
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    malloc_trim = _malloc_trim()
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim  # type: ignore[no-any-return]
    except (OSError, TypeError, AttributeError):  # Windows, macOS, musl
        return None
