"""Which weights of a model are trained: all, its last blocks, or low-rank updates (LoRA)."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from attnviz.errors import AttnVizError
from attnviz.trace.structure import attention_inside, blocks
from attnviz.train.settings import FinetuneWork


def select_trainable(module: PreTrainedModel, work: FinetuneWork, new: tuple[str, ...]) -> Any:
    """The model with the chosen parameters trainable; a PEFT model for LoRA.

    Args:
        new: names of modules that were initialized at random, which are trained in any case.
    """
    module.train()
    if work.method == "full":
        return module.requires_grad_(True)
    module.requires_grad_(False)
    if work.method == "last":
        for block in blocks(module)[-work.last_layers :]:
            block.module.requires_grad_(True)
        for name in new:
            module.get_submodule(name).requires_grad_(True)
        return module
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=work.rank,
        lora_alpha=work.alpha,  # type: ignore[arg-type]  # annotated int, works with any number
        lora_dropout=work.dropout,
        target_modules=list(lora_targets(module)),
        modules_to_save=list(new) or None,
    )
    return get_peft_model(module, config)


def lora_targets(module: PreTrainedModel) -> tuple[str, ...]:
    """Full names of the linear layers of all attention modules.

    Where an attention module computes Q, K and V without linear layers, all of its block's.

    Raises:
        AttnVizError: the model has none.
    """
    found: list[str] = []
    for block in blocks(module):
        attention = [
            (f"{block.name}.{n}" if n else block.name, m) for n, m in attention_inside(block.module)
        ]
        linear = [name for path, m in attention for name in _linear_layers(path, m)]
        found += linear or _linear_layers(block.name, block.module)
    if not found:
        raise AttnVizError(
            f"A {type(module).__name__} has no linear layers in its blocks.",
            "Train its last layers, or all of it.",
        )
    return tuple(dict.fromkeys(found))


def _linear_layers(path: str, module: nn.Module) -> list[str]:
    layers = ((n, m) for n, m in module.named_modules() if isinstance(m, (nn.Linear, Conv1D)))
    return [f"{path}.{n}" for n, _ in layers]


def n_trained(module: PreTrainedModel, work: FinetuneWork) -> int:
    """How many parameters would be trained, without the head that a new objective adds."""
    if work.method == "full":
        return sum(p.numel() for p in module.parameters())
    if work.method == "last":
        chosen = blocks(module)[-work.last_layers :]
        return sum(p.numel() for block in chosen for p in block.module.parameters())
    shapes = [module.get_submodule(name).weight.shape for name in lora_targets(module)]
    return sum(work.rank * (int(shape[0]) + int(shape[1])) for shape in shapes)  # type: ignore[index,arg-type]
