"""Recording a forward pass, and computing attention from what was recorded.

A model runs once inside a session. Each attention layer leaves a record: Q, K, V and the score
modifiers, never an n x n matrix. Weights, scores and outputs are computed from the record on
access. From the bottom up:

**Records**: what a layer leaves, in O(n) memory.
    records             of exact and dense layers; scores, weights and outputs by tile (tile_math)
    edited              the record of a layer after interventions
    record_parts        a record as plain parts, for files
    pooling             a map of any length in bounded memory

**Score modifiers**: from q @ k.T to the softmax.
    terms               a mask or a bias; a new kind of term is one class here
    modifiers           all terms of a layer with scale, softcap and sink
    term_detection      from a model's mask tensors to compact terms

**Dispatch**: one attention call, and the record made of it.
    dispatch            the call as a frozen value
    call_interpreter    which modifiers the call stands for
    probe, fidelity     the layer's own function on random values; the receipt
    call, call_grouping what a call leaves; several calls that are one layer
    softmax_watcher     attention outside transformers' interface, with
        product_tracker, einsum, torch_multihead, fused_attention
    sparse              layouts that no single operation computes

**Session**: everything around the model while it runs.
    recorder            receives the calls of the running thread, applies edits
    residual_stream     the input of each block, with block_inputs, stream_axes
    structure           blocks, kinds of attention, what each part reads
    session, replay     a recorded pass, and the same pass again
    block_run           what entered and left each module of a block in it
    assembly            names, kinds and labels: from calls to a trace

**What you use**: `Model`, `Trace`, `AttentionMap`, `Generation`.
    model, trace, attention_map, prediction, axis_labels, model_inputs
    generation          with decoding (settings), generation_recorder and passes (KV cache)
    requests, lengths, size   what to trace, whether it fits, how large it will be
"""

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
