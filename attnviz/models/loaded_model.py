"""A model in memory with its tokenizer and image processor."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory. All sessions share it, so it is read-only.

    Attributes:
        module: the transformers model; if loaded by name, in eval mode and without gradients.
        tokenizer: None for a model that reads no text.
        processor: the image (or other) processor, or None.
        name: what the model is called on screen.
        device: where its parameters are.
        dtype: of its floating-point parameters.
        revision: identifies the weights, for cache keys.
        notes: sentences to show beside the model's name.
    """

    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    processor: Any | None
    name: str
    device: torch.device
    dtype: torch.dtype
    revision: str
    notes: tuple[str, ...] = ()


def wrap_module(
    module: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None = None,
    processor: Any | None = None,
) -> LoadedModel:
    """A `LoadedModel` around a transformers model that is already in memory and is not changed.

    The caller may change its weights at any time, so each call gives a new ``revision``.

    Raises:
        AttnVizError: not a transformers model, or one whose weights are not in memory.
    """
    if not isinstance(module, PreTrainedModel):
        raise AttnVizError(
            f"A {type(module).__name__} is not a transformers model.",
            "Pass a transformers.PreTrainedModel, e.g. one from AutoModel.from_pretrained.",
        )
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    if parameter is None or parameter.is_meta:
        raise AttnVizError(
            f"This {type(module).__name__} has no weights in memory.",
            "Load its weights first, without device_map='meta'.",
        )
    notes = (
        ("The model is in training mode, so dropout may be active; model.eval() turns it off.",)
        if module.training
        else ()
    )
    return LoadedModel(
        module=module,
        tokenizer=tokenizer,
        processor=processor,
        name=getattr(module.config, "name_or_path", "") or type(module).__name__,
        device=parameter.device,
        dtype=parameter.dtype,
        revision=f"memory-{uuid.uuid4().hex}",
        notes=notes,
    )
