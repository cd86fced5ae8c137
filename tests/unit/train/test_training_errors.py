from __future__ import annotations

import errno
import os

import pytest
import torch
from safetensors import SafetensorError

from attnviz.errors import AttnVizError
from attnviz.train.training_errors import explain


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
    ],
)
def test_a_full_disk(error: Exception) -> None:
    assert str(explain(error)).startswith("The disk is full. Free some space")


def test_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert "not enough memory" in str(explain(caught.value))
    assert "smaller batches" in str(explain(MemoryError()))


def test_others_are_named_and_ours_pass() -> None:
    assert "KeyError" in str(explain(KeyError("x")))
    assert explain(ValueError("\n odd shapes.\nmore")).problem == (
        "The training failed: ValueError: odd shapes."
    )
    assert explain(ValueError()).problem == "The training failed: ValueError."
    ours = AttnVizError("a", "b")
    assert explain(ours) is ours
