"""Building a model on the meta device: all modules and shapes, no memory, within limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from attnviz.errors import AttnVizError

BASE_CALLS = 4_000  # of torch functions, for any model; they take a fraction of a second
CALLS_PER_TENSOR = 8  # making a parameter takes two to five
SECONDS = 15.0  # of this thread's processor time; models of hundreds of layers take two
MAX_TABLE = 2**26  # elements of a tensor that is made on another device


def build(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, n_tensors: int
) -> PreTrainedModel:
    """A model whose parameters and buffers have shapes but no memory.

    Args:
        model_class: the class to build.
        config: its configuration, which may be hostile.
        n_tensors: how many tensors the weight files hold. A model that makes many times more does
            not belong to them.

    Raises:
        AttnVizError: building it exceeded a limit.
        Exception: whatever the class raises on values that it does not expect.
    """
    with _Limits(n_tensors), torch.device("meta"), no_init_weights():
        return model_class(config)


class _Limits(TorchFunctionMode):
    """Counts this thread's calls of torch functions and raises when there are too many."""

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.calls_left = BASE_CALLS + CALLS_PER_TENSOR * n_tensors
        self.deadline = time.thread_time() + SECONDS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.calls_left -= 1
        if self.calls_left < 0 or time.thread_time() > self.deadline:
            raise AttnVizError(
                "config.json describes a model of far more parts than the weight files hold.",
                "Download it again, or choose another model.",
            )
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and not made.is_meta and made.numel() > MAX_TABLE:
            raise AttnVizError(
                f"config.json asks for a table of {made.numel():,} numbers before any weights are "
                "read.",
                "Download it again, or choose another model.",
            )
        return made
