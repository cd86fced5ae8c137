"""Devices and dtypes by name."""

from __future__ import annotations

import pytest
import torch

from attnviz.errors import AttnVizError
from attnviz.models import devices

CPU = torch.device("cpu")


def test_the_cpu_is_always_there_and_last() -> None:
    assert devices.available()[-1] == "cpu"
    assert devices.resolve_device("auto").type == devices.available()[0]
    assert devices.resolve_device("cpu") == CPU


@pytest.mark.parametrize("choice", ["gpu", "", "cuda:99", "xpu"])
def test_devices_that_are_not_there(choice: str) -> None:
    with pytest.raises(AttnVizError, match="Choose one of auto"):
        devices.resolve_device(choice)


def test_auto_keeps_half_precision_for_cuda() -> None:
    stored = torch.bfloat16
    assert devices.resolve_dtype("auto", CPU, stored) == torch.float32
    assert devices.resolve_dtype("auto", torch.device("cuda"), stored) == torch.bfloat16
    assert devices.resolve_dtype("auto", torch.device("mps"), stored) == torch.float32


@pytest.mark.parametrize("choice", devices.DTYPES)
def test_a_named_format_is_taken(choice: str) -> None:
    assert devices.resolve_dtype(choice, CPU) == getattr(torch, choice)


def test_formats_that_cannot_be() -> None:
    with pytest.raises(AttnVizError, match="'int4' is not a supported precision"):
        devices.resolve_dtype("int4", CPU)
    with pytest.raises(AttnVizError, match="mps device has no float64"):
        devices.resolve_dtype("float64", torch.device("mps"))


@pytest.mark.gpu
def test_auto_finds_the_gpu() -> None:
    assert devices.resolve_device("auto").type == "cuda"
