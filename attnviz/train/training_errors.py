"""What a failed training says to the person: what happened, and what to do."""

from __future__ import annotations

import errno

import torch

from attnviz.errors import AttnVizError

_FULL = ("no space left", "file too large", "quota exceeded")
_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def explain(error: BaseException) -> AttnVizError:
    """An error of ours for any error that ended a training."""
    if isinstance(error, AttnVizError):
        return error
    words = str(error).lower()
    if getattr(error, "errno", None) in _FULL_CODES or any(f in words for f in _FULL):
        return AttnVizError(
            "The disk is full.",
            "Free some space and resume; the last checkpoint is kept.",
        )
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(m in words for m in _MEMORY):
        return AttnVizError(
            "There is not enough memory for this training.",
            "Choose smaller batches (with more accumulation), shorter examples or LoRA.",
        )
    if isinstance(error, OSError):
        return AttnVizError(
            f"A file could not be read or written ({error.strerror or error}).",
            "Check the disk and the folder's rights, then resume.",
        )
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return AttnVizError(
        f"The training failed: {type(error).__name__}{': ' + first[:200] if first else ''}.",
        "The job's log has the details.",
    )


def loss_not_finite(step: int, rate: float) -> AttnVizError:
    """The sentence for a loss that is no number any more."""
    return AttnVizError(
        f"The loss was no longer a number at step {step}.",
        f"Start again with a learning rate below {rate:g}, or a longer warm-up; the last "
        "checkpoint is from before.",
    )
