"""Position encodings against transformers' own functions and their defining properties."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from attnviz.errors import AttnVizError
from attnviz.nn import AttentionConfig, MultiHeadAttention
from attnviz.nn.position_encoding import alibi_slopes, rotary_angles, rotate, sinusoids, t5_bucket


@given(
    both_ways=st.booleans(),
    half_buckets=st.integers(2, 32),
    reach=st.integers(1, 200),
)
def test_t5_buckets_are_those_of_t5(both_ways: bool, half_buckets: int, reach: int) -> None:
    buckets = 2 * half_buckets
    ahead = torch.arange(-300, 301)
    ours = t5_bucket(ahead, both_ways, buckets, half_buckets + reach)
    theirs = T5Attention._relative_position_bucket(
        ahead, bidirectional=both_ways, num_buckets=buckets, max_distance=half_buckets + reach
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("n_heads", range(1, 18))
def test_alibi_slopes_are_those_of_bloom(n_heads: int) -> None:
    last = build_alibi_tensor(torch.ones(1, 2), n_heads, torch.float32)[:, 0, 1]  # slope * 1
    torch.testing.assert_close(alibi_slopes(n_heads).float(), last, rtol=1e-6, atol=0)


def test_alibi_bias_is_that_of_mpt() -> None:
    layer = MultiHeadAttention(AttentionConfig(n_heads=8, mask="causal", positions="alibi"))
    steps = layer.explain(torch.zeros(1, 5, 64))
    assert steps.bias is not None
    last_row = build_mpt_alibi_tensor(8, 5)[:, 0]  # MPT keeps the row of the last query
    torch.testing.assert_close(steps.bias[0, :, -1], last_row, rtol=1e-6, atol=0)


def test_rope_scores_depend_on_the_distance_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=generator, dtype=torch.float64)

    def score(i: int, j: int) -> float:
        turn = [rotary_angles(torch.tensor([[p]]), 16, 10_000.0, torch.float64) for p in (i, j)]
        return float((rotate(q, turn[0]) * rotate(k, turn[1])).sum())

    assert score(7, 3) == pytest.approx(score(104, 100), abs=1e-12)
    assert score(7, 3) != pytest.approx(score(3, 7), abs=1e-3)


def test_sinusoids_follow_the_paper() -> None:
    waves = sinusoids(torch.arange(50)[None], 8, torch.float64)[0]
    for position in (0, 1, 49):
        for i in range(4):
            angle = position / 10_000 ** (2 * i / 8)
            assert float(waves[position, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-12)
            assert float(waves[position, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-12)


def test_the_learned_table_has_an_end() -> None:
    layer = MultiHeadAttention(AttentionConfig(positions="learned", max_positions=4))
    layer(torch.zeros(1, 4, 64))
    with pytest.raises(AttnVizError, match="5 tokens"):
        layer(torch.zeros(1, 5, 64))


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rope", "alibi", "t5"])
def test_only_positions_tell_two_orders_apart(positions: str) -> None:
    x = torch.randn(1, 5, 64, generator=torch.Generator().manual_seed(1))
    swapped = x[:, [0, 2, 1, 3, 4]]

    def moved(scheme: str) -> float:
        layer = MultiHeadAttention(AttentionConfig(positions=scheme))
        with torch.no_grad():
            return float((layer(x)[0][0, 4] - layer(swapped)[0][0, 4]).abs().max())

    assert moved("none") < 1e-5  # a sum in another order rounds differently
    assert moved(positions) > 1e-3
