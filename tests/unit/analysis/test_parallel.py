"""Pieces of work on threads that use one core each."""

from __future__ import annotations

import threading

import pytest
import torch

from attnviz.analysis.parallel import parallel_map


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_pieces_run_in_parallel_on_one_core_each_and_keep_their_order():
    together = threading.Barrier(2, timeout=60)

    def work(piece: int) -> tuple[int, int]:
        together.wait()  # passes only where two pieces run at once
        return piece, torch.get_num_threads()

    assert list(parallel_map(work, range(4))) == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_torch_threads_elsewhere_are_unchanged():
    list(parallel_map(abs, range(4)))
    found = []
    new = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert [torch.get_num_threads(), *found] == [2, 2]


def test_a_closed_iterator_starts_no_more_pieces():
    begun: list[int] = []
    allowed = threading.Semaphore(2)

    def work(piece: int) -> int:
        allowed.acquire()
        begun.append(piece)
        return piece

    results = parallel_map(work, range(50))
    assert next(results) == 0
    results.close()
    for _ in range(50):
        allowed.release()
    list(parallel_map(abs, range(4)))  # behind all that was begun
    assert len(begun) <= 4


def test_a_failing_piece_raises():
    def work(piece: int) -> float:
        return 1 / (piece - 2)

    with pytest.raises(ZeroDivisionError):
        list(parallel_map(work, range(4)))
