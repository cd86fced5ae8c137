"""One multi-head attention layer: every option a branch of the maths, every step visible."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attnviz.errors import AttnVizError
from attnviz.nn.config import AttentionConfig
from attnviz.nn.explicit import attend, explicit_attention
from attnviz.nn.feed_forward import FeedForward, FeedForwardSteps
from attnviz.nn.masks import token_positions
from attnviz.nn.placement import Placement, place, place_across, usable_implementation
from attnviz.nn.positions import PositionScheme, rotate
from attnviz.nn.steps import AttentionSteps
from attnviz.nn.weights import Linear, make_norm, seed_weights

# Standalone layers draw tables about as large as the sinusoids, so that their effect shows.
STANDALONE_TABLE_STD = 0.7


class _Entering(NamedTuple):
    """The way from the input to the product."""

    normed: Tensor | None
    q_projected: Tensor
    k_projected: Tensor
    q_normed: Tensor
    k_normed: Tensor
    q: Tensor
    k: Tensor
    v: Tensor


class _Leaving(NamedTuple):
    """The way from the head outputs to the layer's output."""

    concat: Tensor
    projected: Tensor
    residual_sum: Tensor | None
    post_normed: Tensor | None
    feed_forward: FeedForwardSteps | None
    output: Tensor


class MultiHeadAttention(nn.Module):
    """Attention of H heads with its norm and residual (Vaswani et al. 2017, section 3.2).

        layer = MultiHeadAttention(AttentionConfig(d_model=64, n_heads=4, mask="causal"))
        y, weights = layer(torch.randn(1, 10, 64))      # (1, 10, 64), and None: the fused path
        steps = layer.explain(torch.randn(1, 10, 64))   # steps.weights is (1, 4, 10, 10)

    Two paths compute the same: the fused one (PyTorch's ``scaled_dot_product_attention``) and an
    explicit one, step by step. Softcap and sinks have no fused kernel; they always run explicitly.

    With a ``context`` (cross-attention) the keys and values come from it, and neither the mask
    setting nor RoPE, ALiBi or T5 applies: positions of two sequences cannot be compared.

    Args:
        config: the settings; ``config.seed`` decides the weights, global random state does not.
        fused: which path :meth:`forward` takes unless told.
        layer_idx: which layer of a stack this is; the KV cache is kept by it.
        host: the transformers configuration of the model around the layer. Its attention
            implementation then decides the path, and the stack gives the placement.
        cross: this layer of a stack attends to a context.
    """

    def __init__(
        self,
        config: AttentionConfig,
        *,
        fused: bool = True,
        layer_idx: int = 0,
        host: PreTrainedConfig | None = None,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.settings = config
        self.config = config if host is None else host
        self.host = host
        self.fused = fused
        self.layer_idx = layer_idx
        self.is_cross_attention = cross
        # read by transformers' attention functions and by whoever records them
        self.is_causal = config.mask == "causal"
        self.num_key_value_groups = config.n_heads // config.kv_heads
        self.head_dim = config.head_dim
        self.scaling = config.scaling

        self.q_proj = Linear(config.d_model, config.n_heads * config.head_dim, bias=config.bias)
        self.k_proj = Linear(config.d_model, config.kv_heads * config.head_dim, bias=config.bias)
        self.v_proj = Linear(config.d_model, config.kv_heads * config.head_dim, bias=config.bias)
        self.o_proj = Linear(config.n_heads * config.head_dim, config.d_model, bias=config.bias)
        if config.qk_norm:
            self.q_norm = nn.RMSNorm(config.head_dim, eps=config.norm_eps)
            self.k_norm = nn.RMSNorm(config.head_dim, eps=config.norm_eps)
        if config.sink:
            self.sinks = nn.Parameter(torch.zeros(config.n_heads))
        if config.norm != "none":
            self.norm = make_norm(config.norm_kind, config.d_model, config.norm_eps)
        if config.feed_forward:
            self.feed_forward = FeedForward(config)
        if host is None:
            self.positions = PositionScheme(config)
            seed_weights(self, config.seed, table_std=STANDALONE_TABLE_STD)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        padding: Tensor | None = None,
        *,
        placement: Placement | None = None,
        cache: Cache | None = None,
        fused: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The layer's output, and the weights where the path has them.

        Args:
            x: (B, n_q, d_model).
            context: (B, n_k, d_model), what the keys and values are made of; None means x.
            padding: (B, n_k), non-zero for a real token; nobody sees the others. A query that
                sees nothing at all gets weights and head outputs of zero.
            placement: given by a stack, which has then applied mask and positions itself.
            cache: keys and values of earlier tokens, extended by this call.
            fused: True or False overrides the layer's own choice.

        Returns:
            The output (B, n_q, d_model), and the weights (B, H, n_q, n_k), None on the fused path.

        Raises:
            AttnVizError: a shape does not fit the settings.
        """
        implementation = self._implementation(fused)
        if placement is None:
            placement, added = self._place(x, context, padding, implementation)
            x = x if added is None else x + added
        entering = self._enter(x, context, placement, cache)
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, explicit_attention)
        heads, weights = attention(
            self,
            entering.q,
            entering.k,
            entering.v,
            placement.mask,
            scaling=self.scaling,
            dropout=self.settings.dropout if self.training else 0.0,
            is_causal=self.is_causal and context is None,
            **self._modifiers(placement),
        )
        return self._leave(heads, x).output, weights

    def explain(
        self, x: Tensor, context: Tensor | None = None, padding: Tensor | None = None
    ) -> AttentionSteps:
        """Every intermediate of the explicit path, for a layer used on its own.

        In training mode with dropout, the dropped cells are drawn from the layer's seed, so that
        the same call shows the same picture.

        Args:
            x: (B, n_q, d_model).
            context: (B, n_k, d_model), for cross-attention.
            padding: (B, n_k), non-zero for a real token.

        Raises:
            AttnVizError: a shape does not fit, or the layer is part of a stack.
        """
        if self.host is not None:
            raise AttnVizError(
                "This layer is part of a model, which knows its mask and positions.",
                "Trace the model, or build MultiHeadAttention(config) alone.",
            )
        config = self.settings
        placement, added = self._place(x, context, padding, "eager")
        embedded = x if added is None else x + added
        entering = self._enter(embedded, context, placement, None)
        q_changed = entering.q is not entering.q_projected
        normed_changed = config.qk_norm and entering.q is not entering.q_normed
        core = attend(
            entering.q,
            entering.k,
            entering.v,
            placement.mask,
            scaling=self.scaling,
            softcap=config.softcap,
            bias=placement.bias,
            sinks=self.sinks if config.sink else None,
            dropout=config.dropout if self.training else 0.0,
            generator=torch.Generator(x.device).manual_seed(config.seed),
        )
        leaving = self._leave(core.heads.transpose(1, 2), embedded)
        return AttentionSteps(
            config=config,
            x=x,
            position_vectors=added,
            embedded=None if added is None else embedded,
            normed=entering.normed,
            context=context,
            q_projected=entering.q_projected if q_changed else None,
            k_projected=entering.k_projected if q_changed else None,
            q_normed=entering.q_normed if normed_changed else None,
            k_normed=entering.k_normed if normed_changed else None,
            q=entering.q,
            k=entering.k,
            v=entering.v,
            scores_raw=core.raw,
            scores_scaled=core.scaled,
            scores_capped=core.capped,
            bias=placement.bias,
            mask=None if placement.mask is None else placement.mask == 0,
            scores=core.scores,
            sink=self.sinks if config.sink else None,
            sink_weights=core.sink_weights,
            weights=core.weights,
            weights_dropped=core.dropped,
            heads=core.heads,
            concat=leaving.concat,
            projected=leaving.projected,
            residual_sum=leaving.residual_sum,
            post_normed=leaving.post_normed,
            feed_forward=leaving.feed_forward,
            output=leaving.output,
        )

    def _implementation(self, fused: bool | None) -> str:
        if self.host is not None:
            wanted = self.host._attn_implementation
        else:
            wanted = "sdpa" if (self.fused if fused is None else fused) else "eager"
        return usable_implementation(self.settings, wanted)

    def _modifiers(self, placement: Placement) -> dict[str, object]:
        """What changes the scores, under the names transformers gives them; absent if off."""
        modifiers: dict[str, object] = {}
        if self.settings.softcap is not None:
            modifiers["softcap"] = self.settings.softcap
        if placement.bias is not None:
            modifiers["position_bias"] = placement.bias
        if self.settings.sink:
            modifiers["s_aux"] = self.sinks
        return modifiers

    def _place(
        self, x: Tensor, context: Tensor | None, padding: Tensor | None, implementation: str
    ) -> tuple[Placement, Tensor | None]:
        """Placement of a layer on its own, and what its positions add to the input."""
        self._check(x, context, padding)
        n_q = x.shape[1]
        if padding is not None and bool(padding.all()):
            padding = None
        own_padding = padding if context is None else None
        positions = token_positions(n_q, n_q, own_padding, x.device)
        added = self.positions.added(positions, x.dtype)
        if context is not None:
            return place_across(n_q, padding, x.dtype), added
        return (
            place(self.positions, positions, n_q, padding, x, implementation),
            added,
        )

    def _enter(
        self, x: Tensor, context: Tensor | None, placement: Placement, cache: Cache | None
    ) -> _Entering:
        config = self.settings
        normed = self.norm(x) if config.norm == "pre" else None
        entering = x if normed is None else normed
        q = q_projected = q_normed = self._split(self.q_proj(entering))  # (B, H, n_q, d_head)
        if config.qk_norm:
            q = q_normed = self.q_norm(q)
        if placement.rotation is not None:
            q = rotate(q, placement.rotation)
        if isinstance(cache, EncoderDecoderCache) and self.is_cross_attention:
            if cache.is_updated.get(self.layer_idx, False):
                # the context stays the same from token to token, so its keys and values do
                layer = cache.cross_attention_cache.layers[self.layer_idx]
                k, v = layer.keys, layer.values
                return _Entering(normed, q_projected, k, q_normed, k, q, k, v)
            cache.is_updated[self.layer_idx] = True
            cache = cache.cross_attention_cache
        elif isinstance(cache, EncoderDecoderCache):
            cache = cache.self_attention_cache
        memory = entering if context is None else context
        k = k_projected = k_normed = self._split(self.k_proj(memory))  # (B, H_kv, n_k, d_head)
        v = self._split(self.v_proj(memory))  # (B, H_kv, n_k, d_head)
        if config.qk_norm:
            k = k_normed = self.k_norm(k)
        if placement.rotation is not None:
            k = rotate(k, placement.rotation)
        if cache is not None:
            k, v = cache.update(k, v, self.layer_idx)
        return _Entering(normed, q_projected, k_projected, q_normed, k_normed, q, k, v)

    def _split(self, projected: Tensor) -> Tensor:
        B, n, _ = projected.shape
        return projected.view(B, n, -1, self.head_dim).transpose(1, 2)  # (B, heads, n, d_head)

    def _leave(self, heads: Tensor, x: Tensor) -> _Leaving:
        config = self.settings
        concat = heads.flatten(2)  # (B, n_q, H, d_head) to (B, n_q, H * d_head)
        projected = self.o_proj(concat)  # (B, n_q, d_model)
        residual_sum = x + projected if config.residual else None
        output = projected if residual_sum is None else residual_sum
        post_normed = self.norm(output) if config.norm == "post" else None
        output = output if post_normed is None else post_normed
        feed_forward = self.feed_forward.explain(output) if config.feed_forward else None
        output = output if feed_forward is None else feed_forward.output
        return _Leaving(concat, projected, residual_sum, post_normed, feed_forward, output)

    def _check(self, x: Tensor, context: Tensor | None, padding: Tensor | None) -> None:
        for name, given in (("x", x), ("context", context)):
            if given is not None and (given.ndim != 3 or given.shape[-1] != self.settings.d_model):
                raise AttnVizError(
                    f"{name} has shape {tuple(given.shape)}.",
                    f"Give (batch, tokens, d_model) with d_model = {self.settings.d_model}.",
                )
        expected = (x if context is None else context).shape[:2]
        if padding is not None and padding.shape != expected:
            raise AttnVizError(
                f"padding has shape {tuple(padding.shape)}.",
                f"Give one value a key: {tuple(expected)}.",
            )
