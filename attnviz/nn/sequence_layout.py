"""Mask and positions of one forward pass, and which attention function can express them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.nn.attention_masks import additive_mask, padding_mask, token_positions, visible_keys
from attnviz.nn.config import AttentionConfig
from attnviz.nn.position_encoding import PositionEncoding, RotaryAngles


@dataclass(frozen=True)
class SequenceLayout:
    """Mask and positions of one forward pass; all layers of a stack share one."""

    mask: Tensor | None = None  # (1 or B, 1, n_q, n_k), added to the scores; None masks nothing
    rotary: RotaryAngles | None = None  # RoPE's angles of the new tokens
    bias: Tensor | None = None  # (1, H, n_q, n_k), from ALiBi or T5


def usable_implementation(config: AttentionConfig, requested: str) -> str:
    """``requested``, or "eager" if that is "sdpa" and it lacks a score modifier of the settings."""
    unsupported = config.softcap is not None or config.sink
    return "eager" if requested == "sdpa" and unsupported else requested


def self_attention_layout(
    encoding: PositionEncoding,
    positions: Tensor,
    n_k: int,
    padding: Tensor | None,
    like: Tensor,
    implementation: str,
) -> SequenceLayout:
    """The layout of self-attention, whose queries are the last of ``n_k`` tokens.

    Args:
        encoding: the position encoding, with the layer's settings.
        positions: (1 or B, n_q), of the new tokens.
        n_k: number of keys, cached ones included.
        padding: (B, n_k), or None if every token is real.
        like: a tensor with the device and dtype to use.
        implementation: "sdpa" needs no mask where its causal flag has the same effect.
    """
    config, n_q = encoding.config, positions.shape[-1]
    bias = encoding.bias(n_q, n_k, like.device, like.dtype)
    # SDPA takes a mask or the flag, not both, and the bias is passed as a mask
    flag_suffices = implementation == "sdpa" and (n_q == 1 or (n_q == n_k and bias is None))
    unmasked = config.mask == "none" or (config.mask == "causal" and flag_suffices)
    mask = None
    if not unmasked or padding is not None:
        mask = additive_mask(visible_keys(config, n_q, n_k, padding, like.device), like.dtype)
    rotary = encoding.rotary_angles(positions, like.dtype)
    return SequenceLayout(mask, rotary, bias)


def cross_attention_layout(n_q: int, padding: Tensor | None, dtype: torch.dtype) -> SequenceLayout:
    """The layout of cross-attention: every real token of the context is visible."""
    if padding is None:
        return SequenceLayout()
    return SequenceLayout(mask=additive_mask(padding_mask(n_q, padding), dtype))


def standalone_layout(
    encoding: PositionEncoding,
    x: Tensor,
    context: Tensor | None,
    padding: Tensor | None,
    implementation: str,
) -> tuple[SequenceLayout, Tensor | None]:
    """The layout of a layer outside a stack, and the position vectors to add to x, if any.

    Args:
        encoding: the position encoding, with the layer's settings.
        x: (B, n_q, d_model).
        context: (B, n_k, d_model), for cross-attention.
        padding: (B, n_k), non-zero for a real token.
        implementation: as in :func:`self_attention_layout`.

    Raises:
        AttnVizError: a shape does not fit the settings.
    """
    _check_shapes(encoding.config.d_model, x, context, padding)
    n_q = x.shape[1]
    if padding is not None and bool(padding.all()):
        padding = None
    own_padding = padding if context is None else None
    positions = token_positions(n_q, n_q, own_padding, x.device)
    vectors = encoding.vectors(positions, x.dtype)
    if context is not None:
        return cross_attention_layout(n_q, padding, x.dtype), vectors
    return self_attention_layout(encoding, positions, n_q, padding, x, implementation), vectors


def _check_shapes(d_model: int, x: Tensor, context: Tensor | None, padding: Tensor | None) -> None:
    for name, tensor in (("x", x), ("context", context)):
        if tensor is not None and (tensor.ndim != 3 or tensor.shape[-1] != d_model):
            raise AttnVizError(
                f"{name} has shape {tuple(tensor.shape)}.",
                f"Give (batch, tokens, d_model) with d_model = {d_model}.",
            )
    expected = (x if context is None else context).shape[:2]
    if padding is not None and padding.shape != expected:
        raise AttnVizError(
            f"padding has shape {tuple(padding.shape)}.",
            f"Give one value a key: {tuple(expected)}.",
        )
