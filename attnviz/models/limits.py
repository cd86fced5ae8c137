"""Whether memory and disk suffice, checked before anything is allocated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from attnviz.errors import AttnVizError

if TYPE_CHECKING:
    import torch  # takes seconds to import, and not every process here needs it

GIB = 2**30

# Loading takes a little more than the weights: the largest tensor twice, Python objects, and one
# forward pass of a short text.
MARGIN = 1.15
HEADROOM = 256 * 2**20

# Called in turn with a number of bytes to free, before anything is refused for lack of memory. A
# cache of what can be computed again adds itself.
memory_releasers: list[Callable[[int], None]] = []


def available_memory(device: torch.device | None = None) -> int:
    """Bytes that can still be allocated on ``device``, or in main memory if it is None.

    In a container, the smaller of the machine's free memory and what the control group has left.
    """
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    left = _cgroup_memory()
    return free if left is None else min(free, left)


def require_memory(needed: int, subject: str, device: torch.device | None = None) -> None:
    """Check that ``needed`` bytes and a margin are free; caches are emptied first if need be.

    Args:
        needed: bytes of the weights themselves.
        subject: the subject of the message, e.g. ``"The model 'x'"``.
        device: None for the main memory.

    Raises:
        AttnVizError: it does not fit; the message has both numbers.
    """
    total = int(needed * MARGIN) + HEADROOM
    free = available_memory(device)
    for release in memory_releasers:
        if total > free:
            release(total - free)
            free = available_memory(device)
    if total > free:
        where = "memory" if device is None or device.type != "cuda" else f"memory on {device}"
        raise AttnVizError(
            f"{subject} needs about {format_bytes(total)} of {where}, "
            f"and {format_bytes(free)} is free.",
            "Choose a smaller model or a lower precision, or close other programs.",
        )


def require_disk(needed: int, folder: Path, subject: str) -> None:
    """Raise `AttnVizError` unless ``needed`` bytes are free on the disk that holds ``folder``."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed + HEADROOM > free:
        raise AttnVizError(
            f"{subject} needs {format_bytes(needed + HEADROOM)} of disk space under {folder}, "
            f"and {format_bytes(free)} is free.",
            "Free some space there, or point ATTNVIZ_CACHE or HF_HOME at another disk.",
        )


def format_bytes(n_bytes: int) -> str:
    """A number of bytes to show: ``format_bytes(3 * 2**30) == "3.0 GiB"``."""
    return f"{n_bytes / GIB:,.1f} GiB" if n_bytes >= GIB else f"{n_bytes / 2**20:,.0f} MiB"


def _cgroup_memory(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Bytes that this process's control groups have left; None without a limit or outside Linux.

    The limits of all groups above the process's own apply. Cached files count as used there, though
    the kernel drops them when memory is needed: ``inactive_file`` bytes of them count as free.
    """
    left = []
    for files, folder in _control_groups(root, membership):
        try:
            limit = int((folder / files.limit).read_text())
            used = int((folder / files.used).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        try:
            lines = (folder / "memory.stat").read_text().splitlines()
            used -= int(dict(line.split() for line in lines).get(files.cached, 0))
        except (OSError, ValueError):  # not in this kernel
            pass
        left.append(limit - max(0, used))
    return min(left, default=None)


class _GroupFiles(NamedTuple):
    """File names of one version of control groups, and the key of cached files in memory.stat."""

    limit: str
    used: str
    cached: str


_V1 = _GroupFiles("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _GroupFiles("memory.max", "memory.current", "inactive_file")


def _control_groups(root: Path, membership: Path) -> Iterator[tuple[_GroupFiles, Path]]:
    """The folders of this process's memory groups, from its own up to the root."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            yield (_V1 if controllers else _V2), folder
            if folder == base:
                break
