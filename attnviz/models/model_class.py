"""Which transformers class a checkpoint is loaded into, and with which attention."""

from __future__ import annotations

from typing import Any

import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
)

from attnviz import nn  # noqa: F401  registers our own model types with transformers


def candidate_classes(
    config: PreTrainedConfig, architectures: object
) -> list[type[PreTrainedModel]]:
    """The classes to try, best first; empty if transformers has none for this config.

    Args:
        config: the model's configuration.
        architectures: the entry of that name in config.json. If its first class exists, only that
            one and the model without a head are tried; otherwise classes with a prediction head
            come first.
    """
    if config.is_encoder_decoder:
        mappings = [MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING]
    elif getattr(config, "is_decoder", False):
        mappings = [MODEL_FOR_CAUSAL_LM_MAPPING]
    else:  # encoders that can also be used as decoders are in both
        mappings = [MODEL_FOR_MASKED_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING]
    mappings += [MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_MAPPING]
    known: list[type[PreTrainedModel]] = []
    for mapping in mappings:
        if type(config) in mapping:
            entry = mapping[type(config)]
            known += entry if isinstance(entry, (tuple, list)) else [entry]
    named = architectures[0] if isinstance(architectures, list) and architectures else None
    own = [cls for cls in [*known, *_class_named(named, config)] if cls.__name__ == named]
    base = known[-1:] if type(config) in MODEL_MAPPING else []
    return list(dict.fromkeys([*own, *base] if own else known))


def attention_implementation(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> str:
    """``"sdpa"`` where the class supports it; ``"eager"`` for softcap, which sdpa leaves out."""
    softcap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return "sdpa" if model_class._supports_sdpa and not softcap else "eager"


def _class_named(name: Any, config: PreTrainedConfig) -> list[type[PreTrainedModel]]:
    """The class ``name`` of transformers, or our own classifier, if it is for this config."""
    found = getattr(transformers, name, None) if isinstance(name, str) else None
    if found is None and type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        classifier = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
        found = classifier if classifier.__name__ == name else None
    if not isinstance(found, type) or not issubclass(found, PreTrainedModel):
        return []
    return [found] if getattr(found, "config_class", None) is type(config) else []
