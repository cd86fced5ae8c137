"""What a loaded model can be fine-tuned for, and the model class with the head it needs."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel
from attnviz.trace.structure import is_causal_lm
from attnviz.train.settings import FinetuneWork, Objective


def supported_objectives(loaded: Any) -> tuple[Objective, ...]:
    """The objectives that a model can learn, its own first; none if it doesn't read text.

    Args:
        loaded: what `attnviz.load` or `attnviz.models.loader.load` returns.
    """
    module, tokenizer = loaded.module, loaded.tokenizer
    if tokenizer is None:
        return ()
    if _is_encoder_decoder(module):
        return ("seq2seq",)
    found: list[Objective] = []
    if is_causal_lm(module):
        found += ["causal"] if module.get_output_embeddings() is not None else []
    elif type(module.config) in MODEL_FOR_MASKED_LM_MAPPING and tokenizer.mask_token_id is not None:
        found.append("masked")
    if type(module.config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        found.append("classify")
    return tuple(found)


def model_for_objective(
    loaded: LoadedModel, work: FinetuneWork, labels: tuple[str, ...] = ()
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model with the head that the objective needs, and the names of its new modules.

    Args:
        labels: the classes, for classification.

    Raises:
        AttnVizError: this model cannot learn that objective.
    """
    module = loaded.module
    if work.objective == "causal":
        if not is_causal_lm(module) or module.get_output_embeddings() is None:
            raise AttnVizError(
                f"{loaded.name} does not generate text.",
                "Choose masked words or classification for it, or a decoder.",
            )
        return module, ()
    if work.objective == "seq2seq":
        if not _is_encoder_decoder(module):
            raise AttnVizError(
                f"{loaded.name} has no encoder and decoder.", "Choose an encoder-decoder."
            )
        return module, ()
    return _with_head(module, _class_for(loaded, work.objective), labels)


def _class_for(loaded: LoadedModel, objective: Objective) -> Any:
    """The model class for masked words or classification."""
    module = loaded.module
    mapping: Any = MODEL_FOR_MASKED_LM_MAPPING
    if objective == "classify":
        mapping = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    elif _is_encoder_decoder(module) or is_causal_lm(module):
        raise AttnVizError(
            f"{loaded.name} does not predict masked tokens.", "Choose an encoder such as BERT."
        )
    if type(module.config) not in mapping:
        purpose = "classify texts" if objective == "classify" else "predict masked tokens"
        raise AttnVizError(
            f"A model of the type '{module.config.model_type}' cannot {purpose}.",
            "Choose another objective, or another model, such as BERT.",
        )
    return mapping[type(module.config)]


def _with_head(
    module: PreTrainedModel, model_class: Any, labels: tuple[str, ...]
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The same weights in another model class, whose new weights are initialized at random."""
    if isinstance(module, model_class) and not labels:
        return module, ()
    config = module.config
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    model, info = model_class.from_pretrained(
        None,
        config=config,
        state_dict=module.state_dict(),
        dtype=torch.float32,
        attn_implementation=module.config._attn_implementation,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    new = set(info["missing_keys"])
    new |= {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}
    return model, tuple(sorted({key.rpartition(".")[0] for key in new}))


def _is_encoder_decoder(module: PreTrainedModel) -> bool:
    return bool(getattr(module.config, "is_encoder_decoder", False))
