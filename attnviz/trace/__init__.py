"""Recording a forward pass, and looking at what was recorded."""

from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.fidelity import Fidelity
from attnviz.trace.generation import Generation
from attnviz.trace.model import Model
from attnviz.trace.trace import AttentionLayer, Prediction, Trace

__all__ = [
    "AttentionLayer",
    "AttentionMap",
    "Fidelity",
    "Generation",
    "Model",
    "Prediction",
    "Trace",
]
