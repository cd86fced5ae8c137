"""The cache: what is dropped, when, and what counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import attnviz
from attnviz.ui.lru_cache import SMALL, LRUCache, size_of

MIB = 1 << 20


def megabytes(n: float) -> np.ndarray:
    return np.zeros(int(n * MIB), np.uint8)


def of(budget: float, **options) -> LRUCache:
    return LRUCache(lambda held: int(budget * MIB), **options)


def test_the_least_recently_used_goes_first() -> None:
    cache = of(250)
    for name in "abc":
        cache.put((name,), megabytes(80))
    cache.get(("a",))
    cache.put(("d",), megabytes(80))
    assert [(name,) in cache for name in "abcd"] == [True, False, True, True]
    cache.touch(("c",))
    cache.put(("e",), megabytes(80))
    assert [(name,) in cache for name in "acde"] == [False, True, True, True]
    assert cache.nbytes == 3 * 80 * MIB


def test_room_is_made_before_a_value_takes_memory_of_its_own() -> None:
    cache = of(250)
    for name in "abc":
        cache.put((name,), megabytes(80))
    cache.make_room(100 * MIB)
    assert cache.nbytes <= 150 * MIB
    assert ("c",) in cache


def test_a_value_larger_than_the_budget_is_kept_beside_a_little_more() -> None:
    cache = of(100)
    cache.put(("old",), megabytes(90))
    cache.put(("large",), megabytes(300))
    assert ("old",) not in cache
    for i in range(20):  # pictures of it, which is looked at meanwhile
        cache.touch(("large",))
        cache.put((i,), megabytes(8))
    assert ("large",) in cache
    assert cache.nbytes <= 300 * MIB + SMALL
    cache.put(("other",), megabytes(90))
    assert ("large",) not in cache


def test_the_budget_is_computed_anew_each_time() -> None:
    """Other programs took memory meanwhile."""
    free = [400]
    cache = LRUCache(lambda held: free[0] * MIB)
    for name in "abcd":
        cache.put((name,), megabytes(90))
    assert len(cache) == 4
    free[0] = 200
    cache.make_room()
    assert len(cache) == 2


def test_the_same_key_again_counts_once() -> None:
    cache = LRUCache()
    for size in (10, 20, 5):
        cache.put(("a",), megabytes(size))
    assert cache.nbytes == 5 * MIB
    assert len(cache) == 1


def test_the_number_of_values_is_bounded_too() -> None:
    cache = LRUCache(max_entries=2)
    for name in "abc":
        cache.put((name,), name)
    assert [(name,) in cache for name in "abc"] == [False, True, True]
    cache.make_room()
    assert [(name,) in cache for name in "abc"] == [False, False, True]


def test_memory_is_freed_on_request_and_by_key() -> None:
    cache = LRUCache()
    for name in "abcd":
        cache.put((name, 1), megabytes(10))
    cache.free(15 * MIB)
    assert [(name, 1) in cache for name in "abcd"] == [False, False, True, True]
    cache.discard(lambda key: key[0] == "c")
    assert len(cache) == 1
    cache.free(1 << 40)
    assert (len(cache), cache.nbytes) == (0, 0)


def test_on_drop_is_called_once_the_value_is_gone() -> None:
    seen = []
    cache = of(100, on_drop=lambda: seen.append(len(cache)))
    cache.put(("a",), megabytes(90))
    assert seen == []
    cache.put(("b",), megabytes(90))
    assert seen == [1]


@dataclass(frozen=True)
class Payload:
    codes: dict[str, np.ndarray]
    cells: torch.Tensor
    names: tuple[str, ...]
    none: None = None


def test_everything_in_a_value_counts() -> None:
    payload = Payload({"a": np.zeros(10, np.uint16)}, torch.zeros(5), ("ab", "c"))
    assert size_of(payload) == 20 + 1 + 20 + 3
    assert size_of([payload, b"12", 7, None, np.zeros(3)]) == 44 + 2 + 24
    module = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=9)).eval()
    trace = attnviz.wrap(module).trace(inputs={"input_ids": torch.arange(8)[None]})
    assert size_of(trace) == trace.nbytes > 0
