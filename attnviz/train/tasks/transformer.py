"""The small transformer that learns a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from attnviz.errors import AttnVizError
from attnviz.nn import (
    AttentionConfig,
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForSeq2SeqLM,
)

# The settings that most tasks start from. The embeddings are about as large as what the layers add
# to them: at the usual 0.02 the layers drown them out, and induction took five times as many steps.
SMALL_TRANSFORMER = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "initializer_range": 0.5,
    "tie_word_embeddings": False,
}


def build_transformer(
    options: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast | None
) -> PreTrainedModel:
    """A new transformer with a tokenizer's vocabulary.

    Args:
        options: of `TransformerConfig`.

    Raises:
        AttnVizError: unknown or contradictory options, or some with which nothing can be learned.
    """
    assert tokenizer is not None
    try:
        config = TransformerConfig(
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.bos_token_id,
            **options,
        )
    except TypeError as error:
        raise AttnVizError(f"The transformer has no such setting: {error}.") from error
    if config.architecture != "encoder" and config.mask == "none":
        raise AttnVizError(
            "Without a mask the decoder sees the answer it should predict.",
            "Choose the mask causal, sliding or prefix.",
        )
    if config.architecture == "encoder-decoder":
        return TransformerForSeq2SeqLM(config)
    if config.architecture == "decoder":
        return TransformerForCausalLM(config)
    raise AttnVizError(
        "An encoder alone cannot generate answers.", "Choose a decoder for this task."
    )


def model_options_from_layer(layer: AttentionConfig, n_layers: int) -> dict[str, Any]:
    """A task's model options for a stack of such layers, e.g. of the Layer lab's."""
    options = {f.name: getattr(layer, f.name) for f in fields(layer)}
    options["attention_temperature"] = options.pop("temperature")
    if options["mask"] == "none":
        del options["mask"]  # so the task's default applies: an unmasked decoder learns nothing
    return {**options, "n_layers": n_layers}
