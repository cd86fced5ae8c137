"""Mistakes of widely copied listings of this layer, each shown to give something else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attnviz.nn import AttentionConfig, MultiHeadAttention

CONFIG = AttentionConfig(d_model=32, n_heads=4, norm="none")


def listing(layer: MultiHeadAttention, x: Tensor, mistake: str = "") -> Tensor:
    """The layer as such listings write it, with one of their mistakes or none."""
    B, n, d_model = x.shape
    H, d_head = layer.settings.n_heads, layer.settings.head_dim
    projections = (layer.q_proj, layer.k_proj, layer.v_proj)
    q, k, v = (p(x).view(B, n, H, d_head).transpose(1, 2) for p in projections)
    if mistake == "dropout on Q, K and V":
        q, k, v = (F.dropout(t, 0.5) for t in (q, k, v))
    scale = math.sqrt(d_model if mistake == "scale by d_model" else d_head)
    weights = (q @ k.transpose(-2, -1) / scale).softmax(dim=-1)  # (B, H, n, n)
    if mistake == "weights reshaped as heads":
        concat = weights.transpose(1, 2).contiguous().view(B, n, H * d_head)
    else:
        concat = (weights @ v).transpose(1, 2).reshape(B, n, H * d_head)
    mixed = concat if mistake == "W_O never applied" else layer.o_proj(concat)
    return mixed if mistake == "no residual" else x + mixed


@pytest.fixture
def layer() -> MultiHeadAttention:
    return MultiHeadAttention(CONFIG).requires_grad_(False)


def text(n: int) -> Tensor:
    return torch.randn(2, n, 32, generator=torch.Generator().manual_seed(n))


def test_the_listing_without_its_mistakes_is_our_layer(layer: MultiHeadAttention) -> None:
    ours, _ = layer(text(6))
    torch.testing.assert_close(listing(layer, text(6)), ours, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "mistake",
    ["scale by d_model", "dropout on Q, K and V", "W_O never applied", "no residual"],
)
def test_the_mistake_changes_the_output(layer: MultiHeadAttention, mistake: str) -> None:
    ours, _ = layer(text(6))
    wrong = listing(layer, text(6), mistake)
    assert wrong.shape == ours.shape  # nothing fails, which is why it gets copied
    assert float((wrong - ours).abs().max()) > 0.05


def test_scaling_by_d_model_flattens_the_weights(layer: MultiHeadAttention) -> None:
    steps = layer.explain(text(6))
    flat = (steps.scores_raw / math.sqrt(CONFIG.d_model)).softmax(-1)

    def entropy(weights: Tensor) -> float:
        return float(-(weights * weights.log()).sum(-1).mean())

    assert entropy(flat) > entropy(steps.weights) + 0.05


def test_dropping_queries_changes_scores_where_dropping_weights_does_not() -> None:
    config = AttentionConfig(d_model=32, n_heads=4, norm="none", dropout=0.5)
    layer = MultiHeadAttention(config)
    trained, calm = layer.train().explain(text(6)), layer.eval().explain(text(6))
    assert torch.equal(trained.scores, calm.scores)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrong = F.dropout(calm.q, 0.5) @ F.dropout(calm.k, 0.5).transpose(-2, -1)
    assert float((wrong - calm.scores_raw).abs().max()) > 1.0


@pytest.mark.parametrize("n", [5, 7, 9])
def test_weights_reshaped_as_heads_fail_unless_n_is_d_head(
    layer: MultiHeadAttention, n: int
) -> None:
    layer(text(n))
    with pytest.raises(RuntimeError, match="shape"):
        listing(layer, text(n), "weights reshaped as heads")


def test_weights_reshaped_as_heads_are_wrong_where_they_fit(layer: MultiHeadAttention) -> None:
    n = CONFIG.head_dim
    ours, _ = layer(text(n))
    wrong = listing(layer, text(n), "weights reshaped as heads")
    assert wrong.shape == ours.shape
    assert float((wrong - ours).abs().max()) > 0.05
