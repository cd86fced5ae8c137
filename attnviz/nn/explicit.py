"""Softmax attention written out: the reference that every faster path must agree with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class ScoreSteps(NamedTuple):
    """What happens between the queries and the head outputs, in order."""

    raw: Tensor  # (B, H, n_q, n_k): dot products
    scaled: Tensor  # (B, H, n_q, n_k)
    capped: Tensor | None  # (B, H, n_q, n_k), with softcap
    scores: Tensor  # (B, H, n_q, n_k): biased and masked, -inf where masked
    weights: Tensor  # (B, H, n_q, n_k): rows sum to 1, to less with a sink, to 0 if all is masked
    sink_weights: Tensor | None  # (B, H, n_q): what the sink took of each row
    dropped: Tensor | None  # (B, H, n_q, n_k): weights after dropout
    heads: Tensor  # (B, H, n_q, d_head): weighted sums of the values


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    scaling: float,
    softcap: float | None = None,
    bias: Tensor | None = None,
    sinks: Tensor | None = None,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> ScoreSteps:
    """softmax(Q K^T * scaling + bias + mask) V, keeping every step.

    Args:
        query: (B, H, n_q, d_head).
        key: (B, H_kv, n_k, d_head); each serves H / H_kv query heads.
        value: (B, H_kv, n_k, d_v).
        mask: added to the scores, broadcastable to (B, H, n_q, n_k), -inf where hidden.
        scaling: factor of the dot products.
        softcap: bound of the scores, before bias and mask.
        bias: (1, H, n_q, n_k), from the positions.
        sinks: (H,), one more score in each row's softmax, without a value.
        dropout: chance that a weight is dropped; the kept ones grow to make up for it.
        generator: where dropout draws from; None is torch's global one.
    """
    shared = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(shared, dim=1)  # (B, H, n_k, d_head)
    value = value.repeat_interleave(shared, dim=1)  # (B, H, n_k, d_v)

    raw = query @ key.transpose(-2, -1)  # (B, H, n_q, n_k)
    scaled = raw * scaling
    capped = None if softcap is None else softcap * torch.tanh(scaled / softcap)
    scores = scaled if capped is None else capped
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores + mask
    weights, sink_weights = softmax(scores, sinks)
    dropped = _drop(weights, dropout, generator) if dropout > 0.0 else None
    heads = (weights if dropped is None else dropped) @ value  # (B, H, n_q, d_v)
    return ScoreSteps(raw, scaled, capped, scores, weights, sink_weights, dropped, heads)


def softmax(scores: Tensor, sinks: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Rows of ``scores`` (B, H, n_q, n_k) as weights, and what each sink takes, (B, H, n_q).

    A row with nothing visible and no sink becomes zeros, as in PyTorch's fused kernels.
    """
    B, H, n_q, n_k = scores.shape
    columns = scores
    if sinks is not None:
        sink_column = sinks.to(scores).view(1, H, 1, 1).expand(B, H, n_q, 1)
        columns = torch.cat((scores, sink_column), dim=-1)  # (B, H, n_q, n_k + 1)
    highest = columns.amax(dim=-1, keepdim=True)  # (B, H, n_q, 1)
    nothing = highest == -torch.inf
    # float32 at least: sums of many bfloat16 exponentials drift
    precision = torch.promote_types(scores.dtype, torch.float32)
    weights = columns.masked_fill(nothing, 0.0).softmax(dim=-1, dtype=precision)
    weights = weights.masked_fill(nothing, 0.0).to(scores.dtype)
    if sinks is None:
        return weights, None
    return weights[..., :n_k], weights[..., n_k]


def explicit_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    position_bias: Tensor | None = None,
    s_aux: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """:func:`attend` as transformers calls attention functions ("eager").

    Returns the head outputs (B, n_q, H, d_head) and the weights (B, H, n_q, n_k).
    """
    steps = attend(
        query,
        key,
        value,
        attention_mask,
        scaling=scaling,
        softcap=softcap,
        bias=position_bias,
        sinks=s_aux,
        dropout=dropout,
    )
    weights = steps.weights if steps.dropped is None else steps.dropped
    return steps.heads.transpose(1, 2).contiguous(), weights


def _drop(weights: Tensor, chance: float, generator: torch.Generator | None) -> Tensor:
    drawn = torch.rand(
        weights.shape, generator=generator, device=weights.device, dtype=torch.float32
    )
    return weights * (drawn >= chance) / (1.0 - chance)
