"""The size of a trace and of its model, estimated before the trace is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnviz.trace.model import Model


def layers_of(model: Model) -> int:
    """How many layers the model has, by its config; 0 if that doesn't say."""
    config = model.module.config.get_text_config()
    n_layers: int = getattr(config, "num_hidden_layers", 0) or 0
    return n_layers + (getattr(config, "num_decoder_layers", None) or 0)


def trace_bytes(model: Model, n: int, keep: tuple[str, ...]) -> int:
    """Approximate bytes of a trace of n tokens, from the sizes in the model's config.

    Args:
        keep: as for `Model.trace`.
    """
    config = model.module.config.get_text_config()
    d_model = getattr(config, "hidden_size", 0) or 0
    heads = getattr(config, "num_attention_heads", None) or 1
    n_kv = getattr(config, "num_key_value_heads", None) or heads
    if not (isinstance(heads, int) and isinstance(n_kv, int)):
        heads = n_kv = 1  # one number for each stage
    vectors = 2 + 2 * n_kv / heads + ("output" in keep)  # stream and Q, K and V, outputs
    logits = (getattr(config, "vocab_size", 0) or 0) if "logits" in keep else 0
    return int(n * (layers_of(model) * vectors * d_model + logits) * model.dtype.itemsize)
