"""Running a recorded forward pass again, exactly as it was: a complete receipt needs that."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from attnviz.errors import AttnVizError
from attnviz.trace.block_run import BlockRun, watching
from attnviz.trace.probe import ProbeResult
from attnviz.trace.recorder import Edit, LayerObserver, Recorder
from attnviz.trace.session import copied, recording


class Replay:
    """A forward pass that can be run again.

    It has only a weak reference to its model: a trace doesn't keep the model in memory.

    Args:
        tensors: the input, already a copy that never changes.
    """

    def __init__(
        self, module: PreTrainedModel, tensors: dict[str, Any], edits: Sequence[Edit], batch: int
    ) -> None:
        self._module = weakref.ref(module)
        self._tensors = tensors
        self._edits = tuple(edits)
        self._batch = batch
        self._weights = _fingerprint(module)
        self._rng_state = torch.random.get_rng_state()  # ViT-MAE draws its mask, for one
        device_type = next(module.parameters()).device.type
        self._autocast: dict[str, Any] = {
            "device_type": device_type,
            "enabled": torch.is_autocast_enabled(device_type),
            "dtype": torch.get_autocast_dtype(device_type),
        }

    @property
    def possible(self) -> bool:
        """Whether the model is still in memory."""
        return self._module() is not None

    @property
    def changed(self) -> bool:
        """Whether the model's weights or its mode have changed since."""
        module = self._module()
        return module is not None and _fingerprint(module) != self._weights

    def run(self, observer: LayerObserver) -> None:
        """Runs the pass again; ``observer`` receives each layer, nothing is kept."""
        module = self._module()
        assert module is not None
        recorder = Recorder(self._edits, observer=observer)
        with (
            torch.random.fork_rng(devices=[]),
            torch.autocast(**self._autocast),
            recording(module, recorder, self._batch, keep_residual=False),
        ):
            torch.random.set_rng_state(self._rng_state)
            module(**copied(self._tensors))


def watch(replay: Replay | None, attention: str, nth: int) -> BlockRun:
    """The nth run of the block around an attention module, while the pass runs again.

    Args:
        attention: the module's path. nth: layers may share a module.

    Raises:
        AttnVizError: the pass can't be run again as it was.
    """
    module = None if replay is None or replay.changed else replay._module()
    if replay is None or module is None:
        raise AttnVizError(
            "The model of this trace is no longer in memory, or has changed since.",
            "Trace the text again.",
        )
    with watching(module, attention) as runs:
        replay.run(_Indifferent())
    if nth >= len(runs):
        raise AttnVizError(f"The block around {attention} could not be watched.", "")
    return runs[nth]


class _Indifferent:
    """An observer that needs no layer."""

    def needs(self, index: int) -> bool:
        """None of them."""
        return False

    def observe(self, index: int, own: Tensor, probe: ProbeResult | None) -> None:
        """Never called."""


def _fingerprint(module: PreTrainedModel) -> int:
    """Changes when a weight is written to or replaced, or the mode is switched."""
    tensors = [*module.parameters(), *module.buffers()]
    # tensors made under inference_mode have no version counter, and can't be written to
    versions = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]
    return hash((module.training, *versions))
