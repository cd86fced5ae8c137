"""Where the tokens of one forward pass stand, whom they see, and which path can say so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.nn.config import AttentionConfig
from attnviz.nn.masks import additive, padding_only, visible
from attnviz.nn.positions import PositionScheme, Rotation


@dataclass(frozen=True)
class Placement:
    """Where the tokens stand and whom they see. A stack makes one and all its layers share it."""

    mask: Tensor | None = None  # (1 or B, 1, n_q, n_k), added to the scores; None hides nothing
    rotation: Rotation | None = None  # RoPE's angles of the new tokens
    bias: Tensor | None = None  # (1, H, n_q, n_k), from ALiBi or T5


def usable_implementation(config: AttentionConfig, wanted: str) -> str:
    """``wanted``, unless it is "sdpa" and the settings need what SDPA would refuse or forget."""
    refused = config.softcap is not None or config.sink
    return "eager" if wanted == "sdpa" and refused else wanted


def place(
    scheme: PositionScheme,
    positions: Tensor,
    n_k: int,
    padding: Tensor | None,
    like: Tensor,
    implementation: str,
) -> Placement:
    """Placement for self-attention of the last tokens of ``n_k``.

    Args:
        scheme: the positions, with the settings they belong to.
        positions: (1 or B, n_q), of the new tokens.
        n_k: number of keys, cached ones included.
        padding: (B, n_k), or None if every token is real.
        like: a tensor with the device and dtype to use.
        implementation: "sdpa" needs no mask where its own causal flag says the same.
    """
    config, n_q = scheme.config, positions.shape[-1]
    flagged = config.mask == "causal" and implementation == "sdpa" and n_q in (1, n_k)
    unmasked = padding is None and (config.mask == "none" or flagged)
    mask = None if unmasked else visible(config, n_q, n_k, padding, like.device)
    return Placement(
        mask=None if mask is None else additive(mask, like.dtype),
        rotation=scheme.rotation(positions, like.dtype),
        bias=scheme.bias(n_q, n_k, like.device, like.dtype),
    )


def place_across(n_q: int, padding: Tensor | None, dtype: torch.dtype) -> Placement:
    """Placement for cross-attention: every real token of the context is visible."""
    return Placement(mask=None if padding is None else additive(padding_only(n_q, padding), dtype))
