"""Blocks, and a stack of them from token ids to the residual stream, as a transformers model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from attnviz.errors import AttnVizError
from attnviz.nn.attention import MultiHeadAttention
from attnviz.nn.attention_masks import token_positions
from attnviz.nn.config import Part, TransformerConfig
from attnviz.nn.feed_forward import FeedForward
from attnviz.nn.initialization import Table, make_norm, seed_weights
from attnviz.nn.kv_cache import check_cacheable, new_cache
from attnviz.nn.position_encoding import PositionEncoding
from attnviz.nn.sequence_layout import (
    SequenceLayout,
    cross_attention_layout,
    self_attention_layout,
    usable_implementation,
)


class Block(nn.Module):
    """(B, n, d_model) to the same shape; each sub-layer has its own norm and residual.

    Args:
        config: the transformer's settings.
        part: "encoder" or "decoder", which decides the mask.
        layer_idx: the block's index in its stack.
        cross: whether it also attends to an encoder's output.
    """

    def __init__(
        self, config: TransformerConfig, part: Part, layer_idx: int, cross: bool = False
    ) -> None:
        super().__init__()
        settings = replace(config.attention(part), feed_forward=False)
        self.self_attn = MultiHeadAttention(settings, layer_idx=layer_idx, model_config=config)
        if cross:
            cross_settings = replace(config.attention("cross"), feed_forward=False)
            self.cross_attn = MultiHeadAttention(
                cross_settings, layer_idx=layer_idx, model_config=config, cross=True
            )
        if config.feed_forward:
            self.feed_forward = FeedForward(settings)
        self.has_cross, self.has_feed_forward = cross, config.feed_forward

    def forward(
        self,
        x: Tensor,
        layout: SequenceLayout,
        context: Tensor | None = None,
        context_layout: SequenceLayout | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """The residual stream after the block.

        Args:
            x: (B, n, d_model), the stream before it.
            layout: mask and positions of x.
            context: (B, n_k, d_model), the encoder's output.
            context_layout: the mask of the context.
            cache: keys and values of earlier tokens.
        """
        x, _ = self.self_attn(x, layout=layout, cache=cache)
        if self.has_cross and context is not None:
            x, _ = self.cross_attn(x, context, layout=context_layout, cache=cache)
        if self.has_feed_forward:
            x = self.feed_forward(x)
        return x


class TransformerPreTrainedModel(PreTrainedModel):
    """What all our models share: configuration, initial weights, what transformers can record."""

    config_class = TransformerConfig
    config: TransformerConfig
    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules: ClassVar[list[str]] = ["Block"]
    _can_record_outputs: ClassVar[dict[str, Any]] = {
        "hidden_states": Block,
        "attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="self_attn"),
        "cross_attentions": OutputRecorder(MultiHeadAttention, index=1, layer_name="cross_attn"),
    }

    def initialize_weights(self) -> None:
        """Fills all weights that no checkpoint has, from the seed; transformers calls this."""
        seed_weights(self, self.config.seed, table_std=self.config.initializer_range)


class TransformerModel(TransformerPreTrainedModel):
    """A stack of blocks, from token ids to the residual stream: an encoder or a decoder.

    Args:
        config: the settings.
        part: "encoder" or "decoder"; None for the one that ``config.architecture`` names.

    Raises:
        AttnVizError: the architecture has both, and ``part`` is None.
    """

    def __init__(self, config: TransformerConfig, part: Part | None = None) -> None:
        super().__init__(config)
        if part is None and config.is_encoder_decoder:
            raise AttnVizError(
                "An encoder-decoder has two stacks.", "Use TransformerForSeq2SeqLM for both."
            )
        self.part: Part = part or ("encoder" if config.architecture == "encoder" else "decoder")
        cross = self.part == "decoder" and config.is_encoder_decoder
        settings = config.attention(self.part)
        self.embed_tokens = Table(config.vocab_size, config.d_model)
        self.positions = PositionEncoding(settings)
        if config.embedding_norm:
            self.embedding_norm = make_norm(config.norm_kind, config.d_model, config.norm_eps)
        self.layers = nn.ModuleList(
            Block(config, self.part, index, cross) for index in range(config.n_layers)
        )
        if config.norm == "pre":
            self.norm = make_norm(config.norm_kind, config.d_model, config.norm_eps)
        self.post_init()

    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        **_: Any,
    ) -> BaseModelOutputWithPastAndCrossAttentions:
        """The residual stream (B, n, d_model) after the last block and the last norm.

        Args:
            input_ids: (B, n) token ids; or ``inputs_embeds`` (B, n, d_model) instead.
            attention_mask: (B, cached + n), zero for padding.
            position_ids: (1 or B, n); by default counted from the first real token.
            past_key_values: keys and values of earlier tokens.
            encoder_hidden_states: (B, n_k, d_model), for an encoder-decoder's decoder.
            encoder_attention_mask: (B, n_k), zero for padding.
            use_cache: whether to keep keys and values; by default as in the configuration.

        Raises:
            AttnVizError: the inputs do not fit together, or the mask does not allow a cache.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise AttnVizError("One of input_ids and inputs_embeds is needed.", "Pass exactly one.")
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None and self.part == "decoder":
            past_key_values = new_cache(self.config)
        n_q = x.shape[1]
        cached = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        padding = _padding(attention_mask, cached + n_q)
        check_cacheable(self.positions.config, cached, padding)
        if position_ids is None:
            position_ids = token_positions(n_q, cached + n_q, padding, x.device)
        layout = self._layout(position_ids, cached + n_q, padding, x)
        context_layout = None
        if encoder_hidden_states is not None:
            context_padding = _padding(encoder_attention_mask, encoder_hidden_states.shape[1])
            context_layout = cross_attention_layout(n_q, context_padding, x.dtype)

        vectors = self.positions.vectors(position_ids, x.dtype)
        x = x if vectors is None else x + vectors
        if self.config.embedding_norm:
            x = self.embedding_norm(x)
        for block in self.layers:
            x = block(x, layout, encoder_hidden_states, context_layout, past_key_values)
        if self.config.norm == "pre":
            x = self.norm(x)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=x, past_key_values=past_key_values
        )

    def _layout(
        self, positions: Tensor, n_k: int, padding: Tensor | None, like: Tensor
    ) -> SequenceLayout:
        """Mask and positions that all layers of the stack share."""
        implementation = usable_implementation(
            self.positions.config, self.config._attn_implementation
        )
        return self_attention_layout(self.positions, positions, n_k, padding, like, implementation)


def _padding(attention_mask: Tensor | None, n_k: int) -> Tensor | None:
    """``attention_mask`` (B, n_k) if there is padding, None if every token is real."""
    if attention_mask is None:
        return None
    if attention_mask.ndim != 2 or attention_mask.shape[-1] != n_k:
        raise AttnVizError(
            f"attention_mask has shape {tuple(attention_mask.shape)}.",
            f"Give (batch, {n_k}): 1 for a token and 0 for padding, cached tokens included.",
        )
    return None if bool(attention_mask.all()) else attention_mask
