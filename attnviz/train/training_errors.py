"""Errors that end a training, as a message with a remedy."""

from __future__ import annotations

import errno

import torch

from attnviz.errors import AttnVizError, first_line

_DISK_FULL = ("no space left", "file too large", "quota exceeded")
_DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
)


def explain(error: BaseException) -> AttnVizError:
    """An `AttnVizError` for any error that ended a training."""
    if isinstance(error, AttnVizError):
        return error
    text = str(error).lower()
    code = getattr(error, "errno", None)
    if code in _DISK_FULL_CODES or any(part in text for part in _DISK_FULL):
        return AttnVizError(
            "The disk is full.",
            "Free some space and resume; the last checkpoint is kept.",
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        part in text for part in _OUT_OF_MEMORY
    ):
        return AttnVizError(
            "There is not enough memory for this training.",
            "Choose smaller batches (with more accumulation), shorter examples or LoRA.",
        )
    if isinstance(error, OSError):
        return AttnVizError(
            f"A file could not be read or written ({error.strerror or error}).",
            "Check the disk and the folder's rights, then resume.",
        )
    name, reason = type(error).__name__, first_line(error)
    return AttnVizError(
        f"The training failed: {name if reason == name else f'{name}: {reason}'}.",
        "The job's log has the details.",
    )


def loss_not_finite(step: int, learning_rate: float) -> AttnVizError:
    """The error of a run whose loss became NaN or infinite."""
    return AttnVizError(
        f"The loss was no longer a number at step {step}.",
        f"Start again with a learning rate below {learning_rate:g}, or a longer warm-up; the last "
        "checkpoint is from before.",
    )
