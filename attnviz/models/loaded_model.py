"""A model ready to run, with what is needed to feed it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model. Everything in it is shared by everyone who looks at it, so read-only.

    Attributes:
        module: the transformers model; from `load` in eval mode, its parameters without gradients.
        tokenizer: None for a model that reads no text.
        processor: the image (or other) processor, None where there is none.
        name: what a person calls it.
        device: where its parameters are.
        dtype: the format of its floating-point parameters.
        revision: identifies the bytes of the weights, for cache keys.
        notes: sentences a person should see beside the model's name.
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
    """A `LoadedModel` of a model that is already in memory; nothing about the model is changed.

    Its weights may change at any time, so each call gives another `revision`.

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
