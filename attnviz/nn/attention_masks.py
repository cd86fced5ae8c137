"""Attention masks: which keys a query may see."""

from __future__ import annotations

import torch
from torch import Tensor

from attnviz.nn.config import AttentionConfig


def token_positions(n_q: int, n_k: int, padding: Tensor | None, device: torch.device) -> Tensor:
    """Position of each query, counted from the first real token: (1 or B, n_q).

    The queries are the last ``n_q`` of ``n_k`` tokens (the others are cached). With padding on the
    left, counting starts after it, so that padding does not change a text's positions.
    """
    return _key_positions(n_k, padding, device)[:, n_k - n_q :]


def visible_keys(
    config: AttentionConfig,
    n_q: int,
    n_k: int,
    padding: Tensor | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """True where a query may see a key, as (1 or B, 1, n_q, n_k).

    Args:
        config: the kind of mask, its window or prefix.
        n_q: number of queries, which are the last of the ``n_k`` tokens.
        n_k: number of keys.
        padding: (B, n_k), zero for padding, which no query sees.
        device: of the result.
    """
    key = torch.arange(n_k, device=device)
    query = torch.arange(n_k - n_q, n_k, device=device)
    distance = query[:, None] - key[None, :]  # (n_q, n_k), positive for earlier keys
    mask = torch.ones(1, n_q, n_k, dtype=torch.bool, device=device)
    if config.mask != "none":
        mask = (distance >= 0)[None]
    if config.mask == "sliding":
        mask = mask & (distance < config.window)
    if config.mask == "prefix":
        in_prefix = _key_positions(n_k, padding, key.device) < config.prefix  # (1 or B, n_k)
        mask = mask | in_prefix[:, None, :]
    if padding is not None:
        mask = mask & padding.bool()[:, None, :]
    return mask[:, None]  # (1 or B, 1, n_q, n_k)


def padding_mask(n_q: int, padding: Tensor) -> Tensor:
    """The mask of cross-attention, (B, 1, n_q, n_k): every real key is visible."""
    return padding.bool()[:, None, None, :].expand(-1, 1, n_q, -1)


def additive_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as a term to add to the scores: 0 where True, -inf elsewhere."""
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill(~mask, -torch.inf)


def _key_positions(n_k: int, padding: Tensor | None, device: torch.device) -> Tensor:
    """Position of each key, counted from the first real token: (1 or B, n_k)."""
    if padding is None:
        return torch.arange(n_k, device=device)[None]  # (1, n_k)
    return (padding.long().cumsum(-1) - 1).clamp(min=0)  # (B, n_k)
