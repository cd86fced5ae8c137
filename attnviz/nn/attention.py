"""Multi-head attention on one page: the layer, and two ways to compute its heads.

Read :meth:`MultiHeadAttention.compute` from x to y, then :func:`explicit_attention` and
:func:`fused_attention`, which it calls. In shapes, B is the batch size, n_q the number of queries,
n_k of keys, H of query heads and H_kv of key/value heads.
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
from attnviz.nn.kv_cache import cached_context, extend_cache
from attnviz.nn.position_encoding import PositionEncoding, rotate
from attnviz.nn.scores import drop, repeat_kv_heads, soft_cap, softmax
from attnviz.nn.sequence_layout import SequenceLayout, standalone_layout, usable_implementation
from attnviz.nn.steps import AttentionSteps, RecordedSteps, StepRecorder, no_recording

# In a standalone layer, learned tables are about as large as sinusoids, so that their effect shows.
STANDALONE_TABLE_STD = 0.7


class MultiHeadAttention(nn.Module):
    """Attention with H heads, its norm and its residual (Vaswani et al. 2017, section 3.2).

        layer = MultiHeadAttention(AttentionConfig(d_model=64, n_heads=4, mask="causal"))
        y, weights = layer(torch.randn(1, 10, 64))      # (1, 10, 64), and None: the fused path
        steps = layer.explain(torch.randn(1, 10, 64))   # steps.weights is (1, 4, 10, 10)

    Two paths compute the same: :func:`fused_attention` and, step by step,
    :func:`explicit_attention`, which softcap and sinks always take.

    With a ``context`` (cross-attention), keys and values come from it. Neither the mask setting nor
    RoPE, ALiBi or T5 then applies: positions of two sequences cannot be compared.

    Args:
        config: the settings; the weights depend on ``config.seed``, not on global random state.
        fused: whether :meth:`forward` takes the fused path by default.
        layer_idx: the index of this layer in a stack, and in the KV cache.
        model_config: for a layer of a stack, the configuration of the whole model, whose attention
            implementation decides the path.
        cross: whether this layer of a stack attends to a context.
    """

    def __init__(
        self,
        config: AttentionConfig,
        *,
        fused: bool = True,
        layer_idx: int = 0,
        model_config: PreTrainedConfig | None = None,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.settings = config
        self.config = config if model_config is None else model_config
        self.model_config = model_config
        self.fused = fused
        self.layer_idx = layer_idx
        self.is_cross_attention = cross
        # read by transformers' attention functions and their recorders
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
        if model_config is None:
            self.positions = PositionEncoding(config)
            seed_weights(self, config.seed, table_std=STANDALONE_TABLE_STD)

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        padding: Tensor | None = None,
        *,
        layout: SequenceLayout | None = None,
        cache: Cache | None = None,
        fused: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The layer's output, and its weights on the explicit path.

        Args:
            x: (B, n_q, d_model).
            context: (B, n_k, d_model), the source of keys and values; None for x.
            padding: (B, n_k), non-zero for a real token; the others are masked. A query that sees
                no key gets weights and head outputs of zero.
            layout: mask and positions, given by a stack; position vectors are then already in x.
            cache: keys and values of earlier tokens; this call adds its own.
            fused: overrides the layer's default path.

        Returns:
            The output (B, n_q, d_model), and the weights (B, H, n_q, n_k), None on the fused path.

        Raises:
            AttnVizError: a shape does not fit the settings.
        """
        if self.model_config is not None:
            requested = self.model_config._attn_implementation
        else:
            requested = "sdpa" if (self.fused if fused is None else fused) else "eager"
        implementation = usable_implementation(self.settings, requested)
        if layout is None:
            layout, vectors = standalone_layout(self.positions, x, context, padding, implementation)
            x = x if vectors is None else x + vectors
        attention = ATTENTION.get_interface(implementation, explicit_attention)
        return self.compute(x, context, layout, attention, cache)

    def explain(
        self, x: Tensor, context: Tensor | None = None, padding: Tensor | None = None
    ) -> AttentionSteps:
        """Every intermediate of the explicit path, for a standalone layer.

        In training mode, dropout draws from the layer's seed, so that the same call drops the same
        weights.

        Args:
            x: (B, n_q, d_model).
            context: (B, n_k, d_model), for cross-attention.
            padding: (B, n_k), non-zero for a real token.

        Raises:
            AttnVizError: a shape does not fit, or the layer is part of a stack.
        """
        if self.model_config is not None:
            raise AttnVizError(
                "This layer is part of a model, which knows its mask and positions.",
                "Trace the model, or build MultiHeadAttention(config) alone.",
            )
        layout, vectors = standalone_layout(self.positions, x, context, padding, "eager")
        steps = RecordedSteps(
            config=self.settings,
            x=x,
            position_vectors=vectors,
            context=context,
            bias=layout.bias,
            mask=None if layout.mask is None else layout.mask == 0,
            sink=self.sinks if self.settings.sink else None,
        )
        if vectors is not None:
            x = steps("embedded", x + vectors)
        attention = partial(
            explicit_attention,
            generator=torch.Generator(x.device).manual_seed(self.settings.seed),
            record=steps,
        )
        self.compute(x, context, layout, attention, record=steps)
        return AttentionSteps.of(steps)

    def _to_heads(self, projected: Tensor) -> Tensor:
        B, n, _ = projected.shape
        return projected.view(B, n, -1, self.head_dim).transpose(1, 2)  # (B, heads, n, d_head)

    def _score_options(self, layout: SequenceLayout) -> dict[str, object]:
        """The score modifiers that are on, as keyword arguments of an attention function."""
        options: dict[str, object] = {}
        if self.settings.softcap is not None:
            options["softcap"] = self.settings.softcap
        if layout.bias is not None:
            options["position_bias"] = layout.bias
        if self.settings.sink:
            options["s_aux"] = self.sinks
        return options

    def compute(
        self,
        x: Tensor,
        context: Tensor | None,
        layout: SequenceLayout,
        attention: Callable[..., tuple[Tensor, Tensor | None]],
        cache: Cache | None = None,
        record: StepRecorder = no_recording,
    ) -> tuple[Tensor, Tensor | None]:
        """The layer itself: its output (B, n_q, d_model), and the weights if ``attention`` has any.

        Args:
            x: (B, n_q, d_model), with position vectors added if the encoding has them.
            context: as in :meth:`forward`.
            layout: mask, RoPE angles and position bias.
            attention: :func:`explicit_attention`, :func:`fused_attention` or any other function
                of transformers' attention interface.
            cache: as in :meth:`forward`.
            record: called with each intermediate under its name in :class:`AttentionSteps`.
        """
        config, residual = self.settings, x
        if config.norm == "pre":
            x = record("normed", self.norm(x))

        q = record("q_projected", self._to_heads(self.q_proj(x)))  # (B, H, n_q, d_head)
        if config.qk_norm:  # Henry et al. 2020
            q = record("q_normed", self.q_norm(q))
        if layout.rotary is not None:  # RoPE
            q = rotate(q, layout.rotary)
        kv = cached_context(cache, self.layer_idx) if self.is_cross_attention else None
        if kv is None:
            source = x if context is None else context
            k = record("k_projected", self._to_heads(self.k_proj(source)))  # (B, H_kv, n_k, d_head)
            v = self._to_heads(self.v_proj(source))  # (B, H_kv, n_k, d_head)
            if config.qk_norm:
                k = record("k_normed", self.k_norm(k))
            if layout.rotary is not None:
                k = rotate(k, layout.rotary)
            kv = extend_cache(cache, self.layer_idx, k, v, cross=self.is_cross_attention)
        q, k, v = record("q", q), record("k", kv[0]), record("v", kv[1])

        heads, weights = attention(
            self,
            q,
            k,
            v,
            layout.mask,
            scaling=self.scaling,
            dropout=config.dropout if self.training else 0.0,
            is_causal=self.is_causal and context is None,
            **self._score_options(layout),
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
    record: StepRecorder = no_recording,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T * scaling + bias + mask) V, step by step; every faster path must equal it.

    It has the signature of transformers' attention functions, which call this path "eager".

    Args:
        module: unused.
        query: (B, H, n_q, d_head).
        key: (B, H_kv, n_k, d_head); each serves H / H_kv query heads.
        value: (B, H_kv, n_k, d_v).
        attention_mask: added to the scores, broadcastable to (B, H, n_q, n_k), -inf where masked.
        scaling: factor of the dot products.
        dropout: probability that a weight is dropped; the others are scaled up in compensation.
        softcap: bound of the scores, before bias and mask.
        position_bias: (1, H, n_q, n_k), from ALiBi or T5.
        s_aux: (H,), the sinks: one more score in each row's softmax, without a value.
        generator: for dropout; None is torch's global one.
        record: called with each intermediate under its name in :class:`AttentionSteps`.

    Returns:
        The head outputs (B, n_q, H, d_v), and the weights (B, H, n_q, n_k).
    """
    key = repeat_kv_heads(key, query.shape[1])  # (B, H, n_k, d_head)
    value = repeat_kv_heads(value, query.shape[1])  # (B, H, n_k, d_v)

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
    """The same in one kernel, which need not store an (n_q, n_k) matrix (Dao et al. 2022).

    Arguments and results as in :func:`explicit_attention`, but without softcap, sinks and weights.
    ``is_causal`` replaces a causal mask if no mask is given.
    """
    key = repeat_kv_heads(key, query.shape[1])  # (B, H, n_k, d_head)
    value = repeat_kv_heads(value, query.shape[1])  # (B, H, n_k, d_v)

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


# transformers' attention functions, with our own for "sdpa" in this copy alone. Recorders of the
# interface see our layers like all others.
ATTENTION = AttentionInterface()
ATTENTION["sdpa"] = fused_attention
