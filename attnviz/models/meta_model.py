"""A model without memory: its modules on the meta device, made within limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import no_init_weights

from attnviz.errors import AttnVizError

SPARE_CALLS = 4_000  # of torch, for a model of few tensors: a fraction of a second
CALLS_A_TENSOR = 8  # a parameter takes two to five
SECONDS = 15.0  # of this thread's own time; models of hundreds of layers take two
MAX_TABLE = 2**26  # numbers in a table that is made outside the meta device


def build(
    model_class: type[PreTrainedModel], config: PreTrainedConfig, n_tensors: int
) -> PreTrainedModel:
    """The model's shell: every parameter and buffer has its shape and no memory.

    Args:
        model_class: what to build. config: its settings, from anywhere.
        n_tensors: how many tensors the weight files hold; a model that makes many times more is not
            the one they are of.

    Raises:
        AttnVizError: it went past a limit.
        Exception: whatever the class raises on values that it does not expect.
    """
    with _Limits(n_tensors), torch.device("meta"), no_init_weights():
        return model_class(config)


class _Limits(TorchFunctionMode):
    """Sees every call of torch in this thread, and ends what makes too many of them."""

    def __init__(self, n_tensors: int) -> None:
        super().__init__()
        self.left = SPARE_CALLS + CALLS_A_TENSOR * n_tensors
        self.deadline = time.thread_time() + SECONDS

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.left -= 1
        if self.left < 0 or time.thread_time() > self.deadline:
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
