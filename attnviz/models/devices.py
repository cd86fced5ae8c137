"""The device a model runs on, and the format of its numbers."""

from __future__ import annotations

import torch

from attnviz.errors import AttnVizError

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def available() -> tuple[str, ...]:
    """The device types of this machine, the preferred one first: cuda, mps, cpu."""
    cuda = ("cuda",) if torch.cuda.is_available() else ()
    mps = ("mps",) if torch.backends.mps.is_available() else ()
    return (*cuda, *mps, "cpu")


def resolve_device(choice: str) -> torch.device:
    """The device called ``choice``, e.g. ``"cuda:1"``; ``"auto"`` is cuda, then mps, then cpu.

    Raises:
        AttnVizError: not a device's name, or this machine has no such device.
    """
    types = available()
    if choice == "auto":
        return torch.device(types[0])
    try:
        device = torch.device(choice)
    except RuntimeError:
        raise AttnVizError(
            f"'{choice}' is not a device.", f"Choose one of auto, {', '.join(types)}."
        ) from None
    n_devices = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in types or (device.index or 0) >= n_devices:
        raise AttnVizError(
            f"This machine has no device '{choice}' that PyTorch can use.",
            f"Choose one of auto, {', '.join(types)}.",
        )
    return device


def resolve_dtype(
    choice: str, device: torch.device, stored: torch.dtype = torch.float32
) -> torch.dtype:
    """The dtype of a model's weights and activations.

    Args:
        choice: ``"auto"`` or a key of `DTYPES`. Auto is float32 on the CPU and on mps, where half
            precision is slow or incomplete, and the checkpoint's own dtype on cuda.
        device: where the model will run.
        stored: the dtype of the checkpoint's weights.

    Raises:
        AttnVizError: an unknown dtype, or one that the device does not support.
    """
    if choice == "auto":
        return stored if device.type == "cuda" else torch.float32
    if choice not in DTYPES:
        raise AttnVizError(
            f"'{choice}' is not a supported precision.",
            f"Choose one of auto, {', '.join(DTYPES)}.",
        )
    if choice == "float64" and device.type == "mps":
        raise AttnVizError("The mps device has no float64.", "Choose float32, or the device cpu.")
    return DTYPES[choice]
