"""A map over pieces of work on all cores, each piece on one core.

torch splits each operation among its threads, and each operation ends with the slowest of them. On
pieces that fit a core's cache operations are so short that this wait takes longer than the work,
and one busy core delays all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

MAX_THREADS = 8  # more of them only wait for Python's global lock

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def parallel_map(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """``map(work, pieces)``, in order, on as many cores as torch would use in this thread.

    When the iterator is closed or a piece fails, pieces that have not started are canceled.
    """
    n = min(torch.get_num_threads(), MAX_THREADS)
    if n == 1 or len(pieces) == 1:
        yield from map(work, pieces)
        return
    with _LOCK:
        threads = _threads(n)
    futures = [threads.submit(work, piece) for piece in pieces]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()


_LOCK = threading.Lock()


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    """A pool of n threads in each of which torch uses one core."""
    n_before = torch.get_num_threads()
    all_started = threading.Barrier(n)

    def initialize() -> None:
        torch.get_num_threads()  # the first call in a thread copies torch's global number
        torch.set_num_threads(1)  # for this thread, and the global number

    pool = ThreadPoolExecutor(n, "heads", initializer=initialize)
    list(pool.map(lambda _: all_started.wait(), range(n)))
    torch.set_num_threads(n_before)
    return pool
