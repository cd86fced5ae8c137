"""Which weights of a model learn: all, its last blocks, or thin matrices beside them (LoRA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)
from transformers.pytorch_utils import Conv1D

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel
from attnviz.trace.structure import attention_inside, blocks, is_causal_lm
from attnviz.train.settings import FinetuneWork, Objective


def objectives(loaded: Any) -> tuple[Objective, ...]:
    """What a model can learn, the nearest to what it does first; nothing where it reads no text.

    Args:
        loaded: what `attnviz.load` or `attnviz.models.loader.load` gives.
    """
    module, tokenizer = loaded.module, loaded.tokenizer
    if tokenizer is None:
        return ()
    if getattr(module.config, "is_encoder_decoder", False):
        return ("seq2seq",)
    found: list[Objective] = []
    if is_causal_lm(module):
        found += ["causal"] if module.get_output_embeddings() is not None else []
    elif type(module.config) in MODEL_FOR_MASKED_LM_MAPPING and tokenizer.mask_token_id is not None:
        found.append("masked")
    if type(module.config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        found.append("classify")
    return tuple(found)


def for_objective(
    loaded: LoadedModel, work: FinetuneWork, labels: tuple[str, ...] = ()
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The model in the form that the objective needs, and the names of its new modules.

    Args:
        labels: the classes, for classification.

    Raises:
        AttnVizError: this model cannot learn that.
    """
    module = loaded.module
    seq2seq = bool(getattr(module.config, "is_encoder_decoder", False))
    if work.objective == "causal":
        if not is_causal_lm(module) or module.get_output_embeddings() is None:
            raise AttnVizError(
                f"{loaded.name} does not continue text.",
                "Choose masked words or classification for it, or a decoder.",
            )
        return module, ()
    if work.objective == "seq2seq":
        if not seq2seq:
            raise AttnVizError(
                f"{loaded.name} has no encoder and decoder.", "Choose an encoder-decoder."
            )
        return module, ()
    mapping: Any = MODEL_FOR_MASKED_LM_MAPPING
    if work.objective == "classify":
        mapping = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    elif seq2seq or is_causal_lm(module):
        raise AttnVizError(
            f"{loaded.name} does not guess masked words.", "Choose an encoder such as BERT."
        )
    if type(module.config) not in mapping:
        what = "classify texts" if work.objective == "classify" else "guess masked words"
        raise AttnVizError(
            f"A model of the type '{module.config.model_type}' has no form that could {what}.",
            "Choose another objective, or another model, such as BERT.",
        )
    return _with_head(module, mapping[type(module.config)], labels)


def _with_head(
    module: PreTrainedModel, model_class: Any, labels: tuple[str, ...]
) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """The same weights under a class with another head; what is new in it begins at random."""
    if isinstance(module, model_class) and not labels:
        return module, ()
    config = module.config
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    made, info = model_class.from_pretrained(
        None,
        config=config,
        state_dict=module.state_dict(),
        dtype=torch.float32,
        attn_implementation=module.config._attn_implementation,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    fresh = set(info["missing_keys"])
    fresh |= {key[0] if isinstance(key, tuple) else key for key in info["mismatched_keys"]}
    return made, tuple(sorted({key.rpartition(".")[0] for key in fresh}))


def choose(module: PreTrainedModel, work: FinetuneWork, new: tuple[str, ...]) -> Any:
    """The model with the chosen parameters trainable; a PEFT model for LoRA.

    Args:
        new: modules that begin at random, and so always learn.
    """
    module.train()
    if work.method == "full":
        return module.requires_grad_(True)
    module.requires_grad_(False)
    if work.method == "last":
        chosen = blocks(module)[-work.last_layers :]
        for block in chosen:
            block.module.requires_grad_(True)
        for name in new:
            module.get_submodule(name).requires_grad_(True)
        return module
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=work.rank,
        lora_alpha=work.alpha,  # type: ignore[arg-type]  # any number does
        lora_dropout=work.dropout,
        target_modules=list(lora_targets(module)),
        modules_to_save=list(new) or None,
    )
    return get_peft_model(module, config)


def lora_targets(module: PreTrainedModel) -> tuple[str, ...]:
    """The linear maps of all attention modules, by their full names.

    Where attention makes Q, K and V without linear maps of its own, all of its block's.

    Raises:
        AttnVizError: the model has none.
    """
    found: list[str] = []
    for block in blocks(module):
        inside = [
            (f"{block.name}.{n}" if n else block.name, m) for n, m in attention_inside(block.module)
        ]
        linear = [name for path, m in inside for name in _linear(path, m)]
        found += linear or _linear(block.name, block.module)
    if not found:
        raise AttnVizError(
            f"A {type(module).__name__} has no linear maps in its blocks.",
            "Train its last layers, or all of it.",
        )
    return tuple(dict.fromkeys(found))


def _linear(path: str, module: nn.Module) -> list[str]:
    maps = ((n, m) for n, m in module.named_modules() if isinstance(m, (nn.Linear, Conv1D)))
    return [f"{path}.{n}" for n, _ in maps]


def n_trainable(module: nn.Module) -> tuple[int, int]:
    """How many numbers learn, and how many there are."""
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
