"""Attention from scratch: one layer to look into, and a transformer made of it.

from attnviz.nn import AttentionConfig, MultiHeadAttention
layer = MultiHeadAttention(AttentionConfig(d_model=64, n_heads=4, mask="causal"))
steps = layer.explain(torch.randn(1, 10, 64))
steps.weights.shape         # (1, 4, 10, 10)
"""

from attnviz.nn.attention import MultiHeadAttention
from attnviz.nn.config import AttentionConfig
from attnviz.nn.steps import AttentionSteps, Stage

__all__ = ["AttentionConfig", "AttentionSteps", "MultiHeadAttention", "Stage"]
