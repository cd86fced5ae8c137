"""Multi-head attention on one page: the layer, and two ways to compute its heads.

Read :meth:`MultiHeadAttention.compute` from x to y, then :func:`explicit_attention` and
:func:`fused_attention`, which it calls. In shapes, B is the batch, n_q queries, n_k keys, H query
heads and H_kv key/value heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache
from transformers.modeling_utils import AttentionInterface

from attnviz.errors import AttnVizError
from attnviz.nn.config import AttentionConfig
from attnviz.nn.feed_forward import FeedForward
from attnviz.nn.initialization import Linear, make_norm, seed_weights
from attnviz.nn.kv_cache import extend, stored_context
from attnviz.nn.position_encoding import PositionScheme, rotate
from attnviz.nn.scores import drop, share_heads, soft_cap, softmax
from attnviz.nn.sequence_layout import Placement, place_alone, usable_implementation
from attnviz.nn.steps import AttentionSteps, Record, Recording, unrecorded

# Standalone layers draw tables about as large as the sinusoids, so that their effect shows.
STANDALONE_TABLE_STD = 0.7


class MultiHeadAttention(nn.Module):
    """Attention of H heads with its norm and residual (Vaswani et al. 2017, section 3.2).

        layer = MultiHeadAttention(AttentionConfig(d_model=64, n_heads=4, mask="causal"))
        y, weights = layer(torch.randn(1, 10, 64))      # (1, 10, 64), and None: the fused path
        steps = layer.explain(torch.randn(1, 10, 64))   # steps.weights is (1, 4, 10, 10)

    Two paths compute the same: :func:`fused_attention` and, step by step,
    :func:`explicit_attention`. Softcap and sinks have no fused kernel; they always run explicitly.

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
        if self.host is not None:
            wanted = self.host._attn_implementation
        else:
            wanted = "sdpa" if (self.fused if fused is None else fused) else "eager"
        implementation = usable_implementation(self.settings, wanted)
        if placement is None:
            placement, added = place_alone(self.positions, x, context, padding, implementation)
            x = x if added is None else x + added
        attention = ATTENTION.get_interface(implementation, explicit_attention)
        return self.compute(x, context, placement, attention, cache)

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
        placement, added = place_alone(self.positions, x, context, padding, "eager")
        steps = Recording(
            config=self.settings,
            x=x,
            position_vectors=added,
            context=context,
            bias=placement.bias,
            mask=None if placement.mask is None else placement.mask == 0,
            sink=self.sinks if self.settings.sink else None,
        )
        if added is not None:
            x = steps("embedded", x + added)
        attention = partial(
            explicit_attention,
            generator=torch.Generator(x.device).manual_seed(self.settings.seed),
            record=steps,
        )
        self.compute(x, context, placement, attention, record=steps)
        return AttentionSteps.of(steps)

    def _split(self, projected: Tensor) -> Tensor:
        B, n, _ = projected.shape
        return projected.view(B, n, -1, self.head_dim).transpose(1, 2)  # (B, heads, n, d_head)

    def _score_options(self, placement: Placement) -> dict[str, object]:
        """What changes the scores, under transformers' names; absent if off."""
        options: dict[str, object] = {}
        if self.settings.softcap is not None:
            options["softcap"] = self.settings.softcap
        if placement.bias is not None:
            options["position_bias"] = placement.bias
        if self.settings.sink:
            options["s_aux"] = self.sinks
        return options

    def compute(
        self,
        x: Tensor,
        context: Tensor | None,
        placement: Placement,
        attention: Callable[..., tuple[Tensor, Tensor | None]],
        cache: Cache | None = None,
        record: Record = unrecorded,
    ) -> tuple[Tensor, Tensor | None]:
        """The layer itself: its output (B, n_q, d_model), and the weights where there are any.

        Args:
            x: (B, n_q, d_model), position vectors included where the scheme adds them.
            context: as in :meth:`forward`.
            placement: mask, RoPE angles and position bias.
            attention: :func:`explicit_attention`, :func:`fused_attention` or any other function
                of transformers' attention interface.
            cache: as in :meth:`forward`.
            record: called with each intermediate under its name in :class:`AttentionSteps`.
        """
        config, residual = self.settings, x
        if config.norm == "pre":
            x = record("normed", self.norm(x))

        q = record("q_projected", self._split(self.q_proj(x)))  # (B, H, n_q, d_head)
        if config.qk_norm:  # Henry et al. 2020
            q = record("q_normed", self.q_norm(q))
        if placement.rotation is not None:  # RoPE
            q = rotate(q, placement.rotation)
        kv = stored_context(cache, self.layer_idx) if self.is_cross_attention else None
        if kv is None:
            source = x if context is None else context
            k = record("k_projected", self._split(self.k_proj(source)))  # (B, H_kv, n_k, d_head)
            v = self._split(self.v_proj(source))  # (B, H_kv, n_k, d_head)
            if config.qk_norm:
                k = record("k_normed", self.k_norm(k))
            if placement.rotation is not None:
                k = rotate(k, placement.rotation)
            kv = extend(cache, self.layer_idx, k, v, cross=self.is_cross_attention)
        q, k, v = record("q", q), record("k", kv[0]), record("v", kv[1])

        heads, weights = attention(
            self,
            q,
            k,
            v,
            placement.mask,
            scaling=self.scaling,
            dropout=config.dropout if self.training else 0.0,
            is_causal=self.is_causal and context is None,
            **self._score_options(placement),
        )  # (B, n_q, H, d_head), and (B, H, n_q, n_k) or None

        concat = record("concat", heads.flatten(2))  # (B, n_q, H * d_head)
        y = record("projected", self.o_proj(concat))  # (B, n_q, d_model)
        if config.residual:
            y = record("residual_sum", residual + y)
        if config.norm == "post":
            y = record("post_normed", self.norm(y))
        if config.feed_forward:
            y = record("feed_forward", self.feed_forward.explain(y)).output
        return record("output", y), weights


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
    generator: torch.Generator | None = None,
    record: Record = unrecorded,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T * scaling + bias + mask) V, step by step: what every faster path must equal.

    An attention function of transformers, there called "eager".

    Args:
        module: unused, but part of the signature.
        query: (B, H, n_q, d_head).
        key: (B, H_kv, n_k, d_head); each serves H / H_kv query heads.
        value: (B, H_kv, n_k, d_v).
        attention_mask: added to the scores, broadcastable to (B, H, n_q, n_k), -inf where hidden.
        scaling: factor of the dot products.
        dropout: chance that a weight is dropped; the kept ones grow to make up for it.
        softcap: bound of the scores, before bias and mask.
        position_bias: (1, H, n_q, n_k), from ALiBi or T5.
        s_aux: (H,), the sinks: one more score in each row's softmax, without a value.
        generator: where dropout draws from; None is torch's global one.
        record: called with each intermediate under its name in :class:`AttentionSteps`.

    Returns:
        The head outputs (B, n_q, H, d_v), and the weights (B, H, n_q, n_k).
    """
    key = share_heads(key, query.shape[1])  # (B, H, n_k, d_head)
    value = share_heads(value, query.shape[1])  # (B, H, n_k, d_v)

    scores = record("scores_raw", query @ key.transpose(-2, -1))  # (B, H, n_q, n_k)
    scores = record("scores_scaled", scores * scaling)
    if softcap is not None:
        scores = record("scores_capped", soft_cap(scores, softcap))
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    weights, sink_weights = softmax(record("scores", scores), s_aux)
    record("sink_weights", sink_weights)
    record("weights", weights)
    if dropout > 0.0:
        weights = record("weights_dropped", drop(weights, dropout, generator))
    heads = record("heads", weights @ value)  # (B, H, n_q, d_v)
    return heads.transpose(1, 2).contiguous(), weights


def fused_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    is_causal: bool = False,
    position_bias: Tensor | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """The same in one kernel, which need not hold an (n_q, n_k) matrix (Dao et al. 2022).

    Arguments and results as in :func:`explicit_attention`, but it has neither softcap nor sinks,
    and no weights to give. ``is_causal`` stands for the causal mask where no mask is given.
    """
    key = share_heads(key, query.shape[1])  # (B, H, n_k, d_head)
    value = share_heads(value, query.shape[1])  # (B, H, n_k, d_v)

    mask = attention_mask
    if position_bias is not None:
        mask = position_bias if mask is None else position_bias + mask
    heads = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=is_causal and mask is None and query.shape[2] > 1,
        scale=scaling,
    )  # (B, H, n_q, d_v)
    return heads.transpose(1, 2).contiguous(), None


# transformers' way to override a function for one model: the others of the interface stay as
# they are, and whoever records the interface sees our layers like all others.
ATTENTION = AttentionInterface()
ATTENTION["sdpa"] = fused_attention
