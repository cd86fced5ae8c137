"""Work in pieces on all cores, each piece on one of them.

torch splits every single operation among its threads, which then wait for the last of them. On
pieces that fit a core's cache the operations are so short that waiting takes longer than the work,
and one busy neighbor holds up all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

MOST = 8  # threads: Python's own lock serves no more of them

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def spread(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """``work`` of each piece, in their order, on as many cores as torch would use here.

    When the iterator is closed, or a piece fails, the pieces that have not begun never do.
    """
    n = min(torch.get_num_threads(), MOST)
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
    """n threads in which torch uses one core each."""
    used_here = torch.get_num_threads()
    together = threading.Barrier(n)

    def begin() -> None:
        torch.get_num_threads()  # a thread takes over torch's number when it first asks for it
        torch.set_num_threads(1)  # of this thread, and of those that have yet to ask

    pool = ThreadPoolExecutor(n, "heads", initializer=begin)
    list(pool.map(lambda _: together.wait(), range(n)))  # all have begun
    torch.set_num_threads(used_here)
    return pool
