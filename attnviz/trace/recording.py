"""Running a model while what it does is recorded, and running it again for a receipt."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import Cache, PreTrainedModel

from attnviz.errors import AttnVizError
from attnviz.trace.recorder import Edit, LayerObserver, Recorder
from attnviz.trace.softmax_watcher import SoftmaxWatcher
from attnviz.trace.structure import Stream, stream_of


@contextmanager
def recording(
    module: PreTrainedModel, recorder: Recorder, batch: int, keep_residual: bool
) -> Iterator[Stream]:
    """Records what this thread runs inside the block; gives the blocks' inputs and outputs.

    Raises:
        AttnVizError: the model is compiled, as a whole or in part.
    """
    # torch.compile(part) wraps the part as its _orig_mod, part.compile() does so in place
    if any("_orig_mod" in m._modules or m._compiled_call_impl for m in module.modules()):
        raise AttnVizError(
            "This model was compiled, and what runs inside compiled code cannot be seen.",
            "Trace it before torch.compile, or load it once more.",
        )
    with (
        torch.no_grad(),
        stream_of(module, recorder, batch, keep_residual) as stream,
        recorder.active(),
        SoftmaxWatcher(recorder, batch),
    ):
        yield stream


def copied(tensors: dict[str, Any]) -> dict[str, Any]:
    """A model's input, none of which anybody else can change; a cache that it would grow too."""
    return {k: _copied(v) for k, v in tensors.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Cache | list | tuple | dict):
        with _Cloning():
            return copy.deepcopy(value)
    return value


class _Cloning(TorchFunctionMode):
    """Lets deepcopy copy tensors that are results of a computation, apart from it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__deepcopy__:
            copy_of, memo = args
            memo[id(copy_of)] = made = copy_of.detach().clone()
            return made
        return func(*args, **(kwargs or {}))


class Replay:
    """A forward pass that can be made again, exactly as it was.

    It knows its model by a weak reference: what was recorded of a model does not keep it in memory.

    Args:
        tensors: the input, copied: nobody may change it in between.
    """

    def __init__(
        self, module: PreTrainedModel, tensors: dict[str, Any], edits: Sequence[Edit], batch: int
    ) -> None:
        self._module = weakref.ref(module)
        self._tensors = tensors
        self._edits = tuple(edits)
        self._batch = batch
        self._weights = _state(module)
        self._chance = torch.random.get_rng_state()  # some models draw, ViT-MAE for its mask
        kind = next(module.parameters()).device.type
        self._autocast: dict[str, Any] = {
            "device_type": kind,
            "enabled": torch.is_autocast_enabled(kind),
            "dtype": torch.get_autocast_dtype(kind),
        }

    @property
    def possible(self) -> bool:
        """Whether the model is still in memory."""
        return self._module() is not None

    @property
    def changed(self) -> bool:
        """Whether its weights were written to since, or its mode was switched."""
        module = self._module()
        return module is not None and _state(module) != self._weights

    def run(self, observer: LayerObserver) -> None:
        """Makes the pass again and shows what each layer does; what is computed is not kept."""
        module = self._module()
        assert module is not None
        again = Recorder(self._edits, observer=observer)
        with (
            torch.random.fork_rng(devices=[]),
            torch.autocast(**self._autocast),
            recording(module, again, self._batch, keep_residual=False),
        ):
            torch.random.set_rng_state(self._chance)
            module(**copied(self._tensors))


def _state(module: PreTrainedModel) -> int:
    """Changes when one of the weights is written to or replaced, or the mode is switched."""
    held = [*module.parameters(), *module.buffers()]
    # tensors made under inference_mode count no versions: nothing may be written to them
    versions = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in held]
    return hash((module.training, *versions))
