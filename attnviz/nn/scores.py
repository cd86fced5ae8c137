"""The options of an attention layer's heads, scores and weights, one function each."""

from __future__ import annotations

import torch
from torch import Tensor


def repeat_kv_heads(x: Tensor, n_heads: int) -> Tensor:
    """Keys or values (B, H_kv, n_k, d_head), repeated for all query heads: (B, H, n_k, d_head).

    Multi-query (Shazeer 2019) and grouped-query attention (Ainslie et al. 2023): key/value head
    ``h * H_kv // H`` serves query head h.
    """
    return x.repeat_interleave(n_heads // x.shape[1], dim=1)


def soft_cap(scores: Tensor, cap: float) -> Tensor:
    """``scores`` bounded between -cap and cap, before bias and mask (Gemma 2, 2024)."""
    return cap * torch.tanh(scores / cap)


def softmax(scores: Tensor, sinks: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The softmax of each row of ``scores`` (B, H, n_q, n_k), and the sink's weight (B, H, n_q).

    A fully masked row without a sink becomes zeros, as in PyTorch's fused kernels.

    Args:
        scores: -inf where masked.
        sinks: (H,), one more score in each row, without a value, so that a head may attend to
            nothing (Xiao et al. 2023; learned as in gpt-oss, 2025).
    """
    B, H, n_q, n_k = scores.shape
    columns = scores
    if sinks is not None:
        sink_column = sinks.to(scores).view(1, H, 1, 1).expand(B, H, n_q, 1)
        columns = torch.cat((scores, sink_column), dim=-1)  # (B, H, n_q, n_k + 1)
    highest = columns.amax(dim=-1, keepdim=True)  # (B, H, n_q, 1)
    masked_row = highest == -torch.inf
    # float32 at least: sums of many bfloat16 exponentials drift
    precision = torch.promote_types(scores.dtype, torch.float32)
    weights = columns.masked_fill(masked_row, 0.0).softmax(dim=-1, dtype=precision)
    weights = weights.masked_fill(masked_row, 0.0).to(scores.dtype)
    if sinks is None:
        return weights, None
    return weights[..., :n_k], weights[..., n_k]


def drop(weights: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Dropout of ``weights``: the kept ones are scaled up in compensation (Srivastava et al. 2014).

    Args:
        weights: (B, H, n_q, n_k).
        probability: that a weight is dropped.
        generator: to draw from; None is torch's global one.
    """
    draws = torch.rand(
        weights.shape, generator=generator, device=weights.device, dtype=torch.float32
    )
    return weights * (draws >= probability) / (1.0 - probability)
