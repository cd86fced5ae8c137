"""Transformers built from our own layers: language models and a classifier."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    GenerationMixin,
)
from transformers.cache_utils import Cache
from transformers.modeling_outputs import (
    CausalLMOutputWithPast,
    MaskedLMOutput,
    Seq2SeqLMOutput,
    SequenceClassifierOutput,
)
from transformers.utils.generic import ModelOutput, can_return_tuple

from attnviz.errors import AttnVizError
from attnviz.nn.config import Architecture, TransformerConfig
from attnviz.nn.feed_forward import ACTIVATIONS
from attnviz.nn.initialization import Linear, Table, make_norm
from attnviz.nn.stack import TransformerModel, TransformerPreTrainedModel


class _StackWithHead(TransformerPreTrainedModel):
    """One stack and a prediction head: the base of all models but the encoder-decoder.

    A subclass defines how the residual stream becomes logits, its loss and its output class.
    """

    output_class: ClassVar[type[ModelOutput]]
    model: TransformerModel

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> ModelOutput:
        """Logits, and the loss if there are labels.

        Arguments that are not listed are those of :meth:`TransformerModel.forward`.

        Args:
            labels: (B, n) token ids for a language model, -100 to leave a position out of the loss;
                (B,) classes for a classifier. A causal model shifts them itself.
            use_cache: for a model that generates; ignored by the others.
            logits_to_keep: how many of the last positions get logits, 0 for all; or their indices.
                A classifier has one prediction for the whole text and ignores it.

        Returns:
            Logits (B, n, vocab_size), or (B, num_labels) from a classifier.
        """
        stream = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache if self.can_generate() else False,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.logits(stream.last_hidden_state, attention_mask, kept)
        cache = {"past_key_values": stream.past_key_values} if self.can_generate() else {}
        return self.output_class(
            loss=None if labels is None else self.loss(logits, labels),
            logits=logits,
            hidden_states=stream.hidden_states,
            attentions=stream.attentions,
            **cache,
        )

    def logits(self, x: Tensor, attention_mask: Tensor | None, kept: slice | Tensor) -> Tensor:
        """Logits from the residual stream x (B, n, d_model), at the positions ``kept``."""
        raise NotImplementedError

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy."""
        return _cross_entropy(logits, labels)


class TransformerForCausalLM(_StackWithHead, GenerationMixin):
    """A decoder that predicts the next token, like GPT-2 and Llama."""

    output_class = CausalLMOutputWithPast
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(_check_architecture(config, "decoder", type(self)))
        self.model = TransformerModel(config)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def logits(self, x: Tensor, attention_mask: Tensor | None, kept: slice | Tensor) -> Tensor:
        """(B, kept, vocab_size), for the token after each position."""
        logits: Tensor = self.lm_head(x[:, kept])
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of the next tokens."""
        return _cross_entropy(logits[:, :-1], labels[:, 1:])


class TransformerForMaskedLM(_StackWithHead):
    """An encoder that predicts masked tokens from both sides, like BERT."""

    output_class = MaskedLMOutput
    _tied_weights_keys: ClassVar[dict[str, str]] = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(_check_architecture(config, "encoder", type(self)))
        self.model = TransformerModel(config)
        self.dense = Linear(config.d_model, config.d_model)
        self.norm = make_norm(config.norm_kind, config.d_model, config.norm_eps)
        self.lm_head = Linear(config.d_model, config.vocab_size)
        self.post_init()

    def logits(self, x: Tensor, attention_mask: Tensor | None, kept: slice | Tensor) -> Tensor:
        """(B, kept, vocab_size), for the token at each position."""
        x = ACTIVATIONS[self.config.activation](self.dense(x[:, kept]))
        logits: Tensor = self.lm_head(self.norm(x))
        return logits


class TransformerForSequenceClassification(_StackWithHead):
    """Predicts one of ``config.num_labels`` classes for a text.

    From an encoder, it takes the mean of the residual stream over the real tokens; from a decoder,
    the last real token, the only one that sees all of them (like GPT-2's classifier).

    Raises:
        AttnVizError: an encoder-decoder.
    """

    output_class = SequenceClassifierOutput

    def __init__(self, config: TransformerConfig) -> None:
        if config.is_encoder_decoder:
            raise AttnVizError(
                "An encoder-decoder does not classify texts.", "Use an encoder or a decoder."
            )
        super().__init__(config)
        self.model = TransformerModel(config)
        self.classifier = Linear(config.d_model, config.num_labels)
        self.post_init()

    def logits(self, x: Tensor, attention_mask: Tensor | None, kept: slice | Tensor) -> Tensor:
        """(B, num_labels)."""
        real = torch.ones(x.shape[:2]) if attention_mask is None else attention_mask
        logits: Tensor = self.classifier(self._pooled(x, real.to(x)))
        return logits

    def _pooled(self, x: Tensor, real: Tensor) -> Tensor:
        """The stream x (B, n, d_model), pooled over the tokens that are ``real`` (B, n)."""
        if self.config.architecture == "encoder":
            return (x * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
        positions = torch.arange(x.shape[1], device=x.device)
        last = (positions * real.bool()).argmax(dim=1)  # (B,)
        return x[torch.arange(len(x), device=x.device), last]


class TransformerForSeq2SeqLM(TransformerPreTrainedModel, GenerationMixin):
    """An encoder, and a decoder that attends to its output, like T5."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "encoder.embed_tokens.weight": "decoder.embed_tokens.weight",
        "lm_head.weight": "decoder.embed_tokens.weight",
    }

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(_check_architecture(config, "encoder-decoder", type(self)))
        self.encoder = TransformerModel(config, "encoder")
        self.decoder = TransformerModel(config, "decoder")
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's token embeddings."""
        return self.encoder.embed_tokens

    def set_input_embeddings(self, value: Table) -> None:
        """Use the same token embeddings in the encoder and the decoder."""
        self.encoder.embed_tokens = self.decoder.embed_tokens = value

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """The decoder's input for predicting ``labels`` (B, n): the labels, shifted by one."""
        start = self.config.decoder_start_token_id
        padding = self.config.pad_token_id
        if start is None:
            raise AttnVizError(
                "The decoder's start token is not known.",
                "Set decoder_start_token_id in the configuration, or pass decoder_input_ids.",
            )
        shifted = F.pad(labels[:, :-1], (1, 0), value=start)
        return shifted.masked_fill(shifted == -100, start if padding is None else padding)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        decoder_position_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Seq2SeqLMOutput:
        """Logits (B, n, vocab_size) of the decoder's tokens.

        Args:
            input_ids: (B, n_k), the encoder's input.
            attention_mask: (B, n_k), zero for padding.
            decoder_input_ids: (B, n); by default ``labels``, shifted by one.
            decoder_attention_mask: (B, cached + n), zero for padding.
            encoder_outputs: the encoder's output, if it has already run.
            labels: (B, n) token ids, not shifted; -100 leaves a position out of the loss.
        """
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids,
                attention_mask=attention_mask,
                inputs_embeds=inputs_embeds,
                **kwargs,
            )
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        decoded = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            position_ids=decoder_position_ids,
            inputs_embeds=decoder_inputs_embeds,
            past_key_values=past_key_values,
            encoder_hidden_states=encoder_outputs[0],
            encoder_attention_mask=attention_mask,
            use_cache=use_cache,
            **kwargs,
        )
        logits = self.lm_head(decoded.last_hidden_state)  # (B, n, vocab_size)
        return Seq2SeqLMOutput(
            loss=None if labels is None else _cross_entropy(logits, labels),
            logits=logits,
            past_key_values=decoded.past_key_values,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=decoded.cross_attentions,
            encoder_last_hidden_state=encoder_outputs[0],
            encoder_hidden_states=getattr(encoder_outputs, "hidden_states", None),
            encoder_attentions=getattr(encoder_outputs, "attentions", None),
        )


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (..., classes) and labels (...), without labels of -100."""
    return F.cross_entropy(
        logits.flatten(0, -2).float(), labels.to(logits.device).flatten(), ignore_index=-100
    )


def _check_architecture(
    config: TransformerConfig, architecture: Architecture, model: type
) -> TransformerConfig:
    """``config`` if it has the ``architecture`` that ``model`` is for."""
    if config.architecture != architecture:
        raise AttnVizError(
            f"{model.__name__} is for architecture = {architecture!r}, "
            f"not {config.architecture!r}.",
            "Change the architecture, or take the class that belongs to it.",
        )
    return config


AutoConfig.register(TransformerConfig.model_type, TransformerConfig, exist_ok=True)
AutoModel.register(TransformerConfig, TransformerModel, exist_ok=True)
AutoModelForCausalLM.register(TransformerConfig, TransformerForCausalLM, exist_ok=True)
AutoModelForMaskedLM.register(TransformerConfig, TransformerForMaskedLM, exist_ok=True)
AutoModelForSeq2SeqLM.register(TransformerConfig, TransformerForSeq2SeqLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    TransformerConfig, TransformerForSequenceClassification, exist_ok=True
)
