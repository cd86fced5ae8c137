"""A recording session: everything that watches a model, active while one thread runs it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import Cache, PreTrainedModel

from attnviz.errors import AttnVizError
from attnviz.trace.recorder import Recorder
from attnviz.trace.residual_stream import Stream, recording_stream
from attnviz.trace.softmax_watcher import SoftmaxWatcher


@contextmanager
def recording(
    module: PreTrainedModel, recorder: Recorder, batch: int, keep_residual: bool
) -> Iterator[Stream]:
    """Records what this thread runs inside the block; yields the residual stream.

    Args:
        batch: items of the input.

    Raises:
        AttnVizError: the model is compiled, as a whole or in part.
    """
    # torch.compile(part) wraps the part as its _orig_mod, part.compile() works in place
    if any("_orig_mod" in m._modules or m._compiled_call_impl for m in module.modules()):
        raise AttnVizError(
            "This model was compiled, and compiled code cannot be traced.",
            "Trace it before torch.compile, or load it again.",
        )
    with (
        torch.no_grad(),
        recording_stream(module, recorder, batch, keep_residual) as stream,
        recorder.active(),
        SoftmaxWatcher(recorder, batch),
    ):
        yield stream


def copied(tensors: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of a model's input, with any cache that the model would grow."""
    return {k: _copied(v) for k, v in tensors.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Cache | list | tuple | dict):
        with _DetachedDeepcopy():
            return copy.deepcopy(value)
    return value


class _DetachedDeepcopy(TorchFunctionMode):
    """Lets deepcopy copy tensors that are not leaves, detached from their graph."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__:
            original, memo = args
            memo[id(original)] = copied = original.detach().clone()
            return copied
        return func(*args, **(kwargs or {}))
