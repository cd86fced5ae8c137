"""Attention from scratch: one layer to look into, and transformers built from it.

from attnviz.nn import AttentionConfig, MultiHeadAttention
layer = MultiHeadAttention(AttentionConfig(d_model=64, n_heads=4, mask="causal"))
steps = layer.explain(torch.randn(1, 10, 64))
steps.weights.shape         # (1, 4, 10, 10)
"""

from attnviz.nn.attention import MultiHeadAttention
from attnviz.nn.config import AttentionConfig, TransformerConfig
from attnviz.nn.modeling import (
    TransformerForCausalLM,
    TransformerForMaskedLM,
    TransformerForSeq2SeqLM,
    TransformerForSequenceClassification,
)
from attnviz.nn.stack import TransformerModel
from attnviz.nn.steps import AttentionSteps, Stage

__all__ = [
    "AttentionConfig",
    "AttentionSteps",
    "MultiHeadAttention",
    "Stage",
    "TransformerConfig",
    "TransformerForCausalLM",
    "TransformerForMaskedLM",
    "TransformerForSeq2SeqLM",
    "TransformerForSequenceClassification",
    "TransformerModel",
]
