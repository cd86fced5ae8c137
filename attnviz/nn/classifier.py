"""A stack of our own layers that tells what kind of text it reads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from attnviz.errors import AttnVizError
from attnviz.nn.config import TransformerConfig
from attnviz.nn.stack import TransformerModel, TransformerPreTrainedModel
from attnviz.nn.weights import Linear


class TransformerForSequenceClassification(TransformerPreTrainedModel):
    """One of ``config.num_labels`` classes a text.

    An encoder is asked by the mean of its stream over the real tokens; a decoder by its last real
    token, the only one that has seen all of them (as GPT-2's classifier).

    Raises:
        AttnVizError: an encoder-decoder.
    """

    def __init__(self, config: TransformerConfig) -> None:
        if config.is_encoder_decoder:
            raise AttnVizError(
                "An encoder-decoder does not classify texts.", "Take an encoder or a decoder."
            )
        super().__init__(config)
        self.model = TransformerModel(config)
        self.classifier = Linear(config.d_model, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, num_labels); arguments as :meth:`TransformerModel.forward`.

        Args:
            labels: (B,) classes.
        """
        stream = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=False,
            **kwargs,
        )
        x = stream.last_hidden_state  # (B, n, d_model)
        real = (
            torch.ones(x.shape[:2], device=x.device) if attention_mask is None else attention_mask
        )
        logits = self.classifier(self._pooled(x, real.to(x.dtype)))  # (B, num_labels)
        return SequenceClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=stream.hidden_states,
            attentions=stream.attentions,
        )

    def _pooled(self, x: Tensor, real: Tensor) -> Tensor:
        """(B, d_model) of the text, from its stream and which of its (B, n) tokens are real."""
        if self.config.architecture == "encoder":
            return (x * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
        places = torch.arange(x.shape[1], device=x.device)
        last = (places * real).argmax(dim=1)  # (B,)
        return x[torch.arange(len(x), device=x.device), last]


AutoModelForSequenceClassification.register(
    TransformerConfig, TransformerForSequenceClassification, exist_ok=True
)
