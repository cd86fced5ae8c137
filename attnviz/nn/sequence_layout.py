"""Where the tokens of one forward pass stand, whom they see, and which path can say so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.nn.attention_masks import additive, padding_only, token_positions, visible
from attnviz.nn.config import AttentionConfig
from attnviz.nn.position_encoding import PositionScheme, Rotation


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
    bias = scheme.bias(n_q, n_k, like.device, like.dtype)
    # the kernel's flag takes the place of a mask, and a bias travels as one
    flagged = implementation == "sdpa" and (n_q == 1 or (n_q == n_k and bias is None))
    unmasked = config.mask == "none" or (config.mask == "causal" and flagged)
    mask = None if unmasked and padding is None else visible(config, n_q, n_k, padding, like.device)
    return Placement(
        mask=None if mask is None else additive(mask, like.dtype),
        rotation=scheme.rotation(positions, like.dtype),
        bias=bias,
    )


def place_across(n_q: int, padding: Tensor | None, dtype: torch.dtype) -> Placement:
    """Placement for cross-attention: every real token of the context is visible."""
    return Placement(mask=None if padding is None else additive(padding_only(n_q, padding), dtype))


def place_alone(
    scheme: PositionScheme,
    x: Tensor,
    context: Tensor | None,
    padding: Tensor | None,
    implementation: str,
) -> tuple[Placement, Tensor | None]:
    """Placement for a layer outside a stack, and what its positions add to x, if anything.

    Args:
        scheme: the positions, with the layer's settings.
        x: (B, n_q, d_model).
        context: (B, n_k, d_model), for cross-attention.
        padding: (B, n_k), non-zero for a real token.
        implementation: as in :func:`place`.

    Raises:
        AttnVizError: a shape does not fit the settings.
    """
    _check(scheme.config.d_model, x, context, padding)
    n_q = x.shape[1]
    if padding is not None and bool(padding.all()):
        padding = None
    own_padding = padding if context is None else None
    positions = token_positions(n_q, n_q, own_padding, x.device)
    added = scheme.added(positions, x.dtype)
    if context is not None:
        return place_across(n_q, padding, x.dtype), added
    return place(scheme, positions, n_q, padding, x, implementation), added


def _check(d_model: int, x: Tensor, context: Tensor | None, padding: Tensor | None) -> None:
    for name, given in (("x", x), ("context", context)):
        if given is not None and (given.ndim != 3 or given.shape[-1] != d_model):
            raise AttnVizError(
                f"{name} has shape {tuple(given.shape)}.",
                f"Give (batch, tokens, d_model) with d_model = {d_model}.",
            )
    expected = (x if context is None else context).shape[:2]
    if padding is not None and padding.shape != expected:
        raise AttnVizError(
            f"padding has shape {tuple(padding.shape)}.",
            f"Give one value a key: {tuple(expected)}.",
        )
