"""Masks and biases are detected exactly, or kept as they are."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.term_detection import cached_per_tensor, mask_term, relative_or_dense
from attnviz.trace.terms import DenseTerm, IntervalMask, RelativeBias, Term, causal


def written_out(term: Term | None, item: int, H: int, n_q: int, n_k: int) -> torch.Tensor:
    scores = torch.zeros(H, n_q, n_k)
    if term is not None:
        term.add_to(scores, item, slice(0, H), slice(0, n_q), slice(0, n_k))
    return scores


@given(
    n=st.integers(1, 20),
    window=st.integers(1, 25),
    pad=st.integers(0, 5),
    is_float=st.booleans(),
)
def test_window_and_padding_become_ranges(n: int, window: int, pad: int, is_float: bool) -> None:
    i = torch.arange(n)
    visible = (i[None] <= i[:, None]) & (i[None] > i[:, None] - window) & (i[None] >= pad)
    mask = visible.expand(2, 1, n, n)
    low = torch.finfo(torch.float32).min if is_float else -torch.inf
    expected = torch.zeros(2, 3, n, n).masked_fill(~mask, low)
    given_mask = expected[:, :1] if is_float else mask
    term = mask_term(given_mask.expand(2, 3, n, n))
    if term is None:
        assert bool(visible.all())
    else:
        assert isinstance(term, IntervalMask)
    assert torch.equal(written_out(term, 1, 3, n, n), expected[1])


@given(
    seed=st.integers(0, 10_000), H=st.integers(1, 3), n_q=st.integers(1, 9), n_k=st.integers(1, 9)
)
def test_any_mask_is_kept_exactly(seed: int, H: int, n_q: int, n_k: int) -> None:
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, H, n_q, n_k, generator=g) > 0.5
    expected = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    for item in range(2):
        assert torch.equal(written_out(mask_term(mask), item, H, n_q, n_k), expected[item])


@given(seed=st.integers(0, 10_000), n_q=st.integers(1, 12), n_k=st.integers(1, 12))
def test_a_relative_bias_is_kept_by_distance(seed: int, n_q: int, n_k: int) -> None:
    g = torch.Generator().manual_seed(seed)
    by_distance = torch.randn(2, n_q + n_k - 1, generator=g)
    i, j = torch.arange(n_q), torch.arange(n_k)
    bias = by_distance[:, j[None] - i[:, None] + n_q - 1][None]
    term = relative_or_dense(bias)
    assert isinstance(term, RelativeBias) or n_q < 2 or n_k < 2
    assert torch.equal(written_out(term, 0, 2, n_q, n_k), bias[0])
    bias = bias.clone()
    bias[0, 1, -1, -1] += 1
    assert torch.equal(written_out(relative_or_dense(bias), 0, 2, n_q, n_k), bias[0])


def test_a_mask_with_small_numbers_is_a_bias() -> None:
    bias = torch.randn(1, 2, 5, 5)
    assert isinstance(mask_term(bias), DenseTerm)
    assert torch.equal(written_out(mask_term(bias), 0, 2, 5, 5), bias[0])


def test_an_interval_mask_takes_two_numbers_a_row() -> None:
    n = 512
    term = mask_term(torch.ones(1, 1, n, n, dtype=torch.bool).tril())
    assert ScoreModifiers(1.0, terms=(term,)).nbytes == 2 * n * 8  # type: ignore[arg-type]


def test_rows_see_the_keys_of_their_range() -> None:
    modifiers = ScoreModifiers(1.0, terms=(causal(10),))
    assert modifiers.key_range(0, slice(2, 5), 10) == (0, 5)
    assert modifiers.key_range(0, slice(9, 10), 10) == (0, 10)


def test_a_tensor_shared_by_layers_is_examined_once() -> None:
    looks = []

    def look(t: torch.Tensor) -> None:
        looks.append(t)

    cached = cached_per_tensor(look)
    mask = torch.ones(2, 2)
    cached(mask)
    cached(mask)
    assert len(looks) == 1
    mask.zero_()
    cached(mask)
    assert len(looks) == 2
