"""What entered and left the modules of one block, in a second run of a recorded pass.

A trace keeps what attention needs. How a head's Q, K and V were made of the block's input is read
from the modules themselves, while the same pass runs again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from attnviz.trace.structure import blocks


@dataclass(frozen=True)
class ModuleRun:
    """One run of a module.

    Attributes:
        name: its path in the model. given: its tensors, positional ones first. out: its result.
        angles: RoPE's cosines and sines, if it was given any.
    """

    name: str
    module: nn.Module
    given: tuple[Tensor, ...]
    out: Tensor
    angles: tuple[Tensor, Tensor] | None = None


@dataclass
class BlockRun:
    """One run of a block.

    Attributes:
        modules: the runs inside it, in the order in which they ended.
        embeddings: of the whole model, up to this block.
    """

    modules: list[ModuleRun] = field(default_factory=list)
    embeddings: list[ModuleRun] = field(default_factory=list)


@contextmanager
def watching(model: PreTrainedModel, attention: str) -> Iterator[list[BlockRun]]:
    """Watches the block around the attention module of this name, as this thread runs it.

    Args:
        attention: the module's path, as in `AttentionLayer.name`.
    """
    inside = [b.name for b in blocks(model) if f"{attention}.".startswith(f"{b.name}.")]
    block = max(inside, key=len, default=attention.rpartition(".")[0] or attention)
    thread = threading.get_ident()
    runs: list[BlockRun] = []
    embeddings: list[ModuleRun] = []

    def begin(*_: Any) -> None:
        if threading.get_ident() == thread:
            runs.append(BlockRun(embeddings=list(embeddings)))

    def end(name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            result = out[0] if isinstance(out, tuple | list) and out else out
            if threading.get_ident() != thread or not isinstance(result, Tensor):
                return
            run = ModuleRun(name, module, _tensors(args, kwargs), result.detach(), _angles(kwargs))
            if isinstance(module, nn.Embedding):
                embeddings.append(run)
            if runs and f"{name}.".startswith(f"{block}."):
                runs[-1].modules.append(run)

        return hook

    handles = [model.get_submodule(block).register_forward_pre_hook(begin)]
    try:
        for name, part in model.named_modules():
            if f"{name}.".startswith(f"{block}.") or isinstance(part, nn.Embedding):
                handles.append(part.register_forward_hook(end(name), with_kwargs=True))
        yield runs
    finally:
        for handle in handles:
            handle.remove()


def _tensors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
    named = [kwargs[name] for name in ("hidden_states", "input") if name in kwargs]
    return tuple(t.detach() for t in (*args, *named) if isinstance(t, Tensor))


def _angles(kwargs: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """(B or 1, n, rotated dimensions) each: as transformers passes them, or our own layers."""
    given = kwargs.get("position_embeddings", getattr(kwargs.get("layout"), "rotary", None))
    if not isinstance(given, tuple | list) or len(given) != 2:
        return None
    cos, sin = given
    if not isinstance(cos, Tensor) or not isinstance(sin, Tensor):
        return None
    return (cos.squeeze(1), sin.squeeze(1)) if cos.ndim == 4 else (cos, sin)
