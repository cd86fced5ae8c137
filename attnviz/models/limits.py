"""Whether something fits, asked before anything is allocated."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import torch

from attnviz.errors import AttnVizError

GIB = 2**30

# Loading needs a little more than the weights: the largest tensor twice, the Python objects, and
# room for one forward pass of a short text.
MARGIN = 1.15
HEADROOM = 256 * 2**20


def available_memory(device: torch.device | None = None) -> int:
    """Bytes that can still be allocated on `device` (the main memory when None).

    In a container the smaller of the machine's free memory and what the cgroup still grants.
    """
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    granted = _cgroup_memory()
    return free if granted is None else min(free, granted)


def require_memory(needed: int, what: str, device: torch.device | None = None) -> None:
    """Raise if `needed` bytes, and a margin, are more than `device` has left.

    Args:
        needed: bytes of the weights themselves.
        what: the subject of the sentence, e.g. ``"The model 'x'"``.
        device: None for the main memory.

    Raises:
        AttnVizError: it does not fit; both numbers are named.
    """
    free = available_memory(device)
    if needed * MARGIN + HEADROOM > free:
        where = "memory" if device is None or device.type != "cuda" else f"memory on {device}"
        raise AttnVizError(
            f"{what} needs about {readable(int(needed * MARGIN) + HEADROOM)} of {where}, "
            f"and {readable(free)} is free.",
            "Choose a smaller model or a smaller number format, or close other programs.",
        )


def require_disk(needed: int, folder: Path, what: str) -> None:
    """Raise `AttnVizError` if `needed` bytes do not fit on the disk that holds `folder`."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed + HEADROOM > free:
        raise AttnVizError(
            f"{what} needs {readable(needed + HEADROOM)} of disk space under {folder}, "
            f"and {readable(free)} is free.",
            "Free some space there, or point ATTNVIZ_CACHE or HF_HOME at another disk.",
        )


def readable(n_bytes: int) -> str:
    """Bytes for a person: ``readable(3 * 2**30) == "3.0 GiB"``."""
    return f"{n_bytes / GIB:,.1f} GiB" if n_bytes >= GIB else f"{n_bytes / 2**20:,.0f} MiB"


def _cgroup_memory() -> int | None:
    """What a Linux container may still allocate; None without a limit or outside Linux."""
    root = Path("/sys/fs/cgroup")
    pairs = (
        (root / "memory.max", root / "memory.current"),  # cgroup v2
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),  # v1
    )
    for limit, used in pairs:
        try:
            return int(limit.read_text()) - int(used.read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None
