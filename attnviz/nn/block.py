"""One block of a transformer: attention, attention to a context if it has one, feed-forward."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from transformers.cache_utils import Cache

from attnviz.nn.attention import MultiHeadAttention
from attnviz.nn.config import Part, TransformerConfig
from attnviz.nn.feed_forward import FeedForward
from attnviz.nn.placement import Placement


class Block(nn.Module):
    """(B, n, d_model) to the same shape; each sub-layer has its own norm and residual.

    Args:
        config: the transformer's settings.
        part: "encoder" or "decoder", which decides the mask.
        layer_idx: the block's place in its stack.
        cross: whether it also attends to an encoder's output.
    """

    def __init__(
        self, config: TransformerConfig, part: Part, layer_idx: int, cross: bool = False
    ) -> None:
        super().__init__()
        own = replace(config.attention(part), feed_forward=False)
        self.self_attn = MultiHeadAttention(own, layer_idx=layer_idx, host=config)
        if cross:
            across = replace(config.attention("cross"), feed_forward=False)
            self.cross_attn = MultiHeadAttention(
                across, layer_idx=layer_idx, host=config, cross=True
            )
        if config.feed_forward:
            self.feed_forward = FeedForward(own)
        self.has_cross, self.has_feed_forward = cross, config.feed_forward

    def forward(
        self,
        x: Tensor,
        placement: Placement,
        context: Tensor | None = None,
        across: Placement | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """The residual stream after the block.

        Args:
            x: (B, n, d_model), the stream before it.
            placement: mask and positions of x.
            context: (B, n_k, d_model), the encoder's output.
            across: the mask towards the context.
            cache: earlier keys and values.
        """
        x, _ = self.self_attn(x, placement=placement, cache=cache)
        if self.has_cross and context is not None:
            x, _ = self.cross_attn(x, context, placement=across, cache=cache)
        if self.has_feed_forward:
            x = self.feed_forward(x)
        return x
