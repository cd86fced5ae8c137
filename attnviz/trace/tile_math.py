"""The arithmetic of a tile: products by group, and the softmax."""

from __future__ import annotations

import torch
from torch import Tensor


def matmul_by_group(a: Tensor, b: Tensor) -> Tensor:
    """(h, r, x) @ (h_kv, x, y), with each key/value head for its group of query heads.

    Without autocast, which is for the model's own operations.
    """
    h, r, x = a.shape
    stacked = a if h == b.shape[0] else a.reshape(b.shape[0], -1, x)  # (h_kv, h // h_kv * r, x)
    with torch.autocast(a.device.type, enabled=False):
        return torch.matmul(stacked, b).view(h, r, b.shape[-1])


def softmax(scores: Tensor) -> Tensor:
    """Softmax over keys; a row without any key becomes zeros, not NaN."""
    w = torch.softmax(scores, dim=-1)
    if w[..., 0].isnan().any():  # all of such a row is NaN
        w.masked_fill_(scores.amax(dim=-1, keepdim=True) == -torch.inf, 0.0)
    return w


def upcast(t: Tensor) -> Tensor:
    """Half precision as float32, so that computing adds no rounding of its own."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t
