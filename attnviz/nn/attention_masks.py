"""Which keys a query may see."""

from __future__ import annotations

import torch
from torch import Tensor

from attnviz.nn.config import AttentionConfig


def token_positions(n_q: int, n_k: int, padding: Tensor | None, device: torch.device) -> Tensor:
    """Position of each query, counted from the first real token: (1 or B, n_q).

    The queries are the last ``n_q`` of ``n_k`` tokens (the others are cached). With padding on
    the left, counting starts after it, so that a padded text is read as the same text alone.
    """
    return _key_positions(n_k, padding, device)[:, n_k - n_q :]


def visible(
    config: AttentionConfig,
    n_q: int,
    n_k: int,
    padding: Tensor | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """True where a query may see a key, as (1 or B, 1, n_q, n_k).

    Args:
        config: names the mask, and its window or prefix.
        n_q: number of queries, the last of the ``n_k`` tokens.
        n_k: number of keys.
        padding: (B, n_k), non-zero for a real token, zero for padding, which nobody sees.
        device: where the mask is made.
    """
    key = torch.arange(n_k, device=device)
    query = torch.arange(n_k - n_q, n_k, device=device)
    behind = query[:, None] - key[None, :]  # (n_q, n_k): how far the key lies in the past
    mask = torch.ones(1, n_q, n_k, dtype=torch.bool, device=device)
    if config.mask != "none":
        mask = (behind >= 0)[None]
    if config.mask == "sliding":
        mask = mask & (behind < config.window)
    if config.mask == "prefix":
        in_prefix = _key_positions(n_k, padding, key.device) < config.prefix  # (1 or B, n_k)
        mask = mask | in_prefix[:, None, :]
    if padding is not None:
        mask = mask & padding.bool()[:, None, :]
    return mask[:, None]  # (1 or B, 1, n_q, n_k)


def padding_only(n_q: int, padding: Tensor) -> Tensor:
    """The mask of cross-attention, (B, 1, n_q, n_k): every real key is visible."""
    return padding.bool()[:, None, None, :].expand(-1, 1, n_q, -1)


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask as a term to add to the scores: 0 where visible, -inf elsewhere."""
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill(~mask, -torch.inf)


def _key_positions(n_k: int, padding: Tensor | None, device: torch.device) -> Tensor:
    if padding is None:
        return torch.arange(n_k, device=device)[None]  # (1, n_k)
    return (padding.long().cumsum(-1) - 1).clamp(min=0)  # (B, n_k)
