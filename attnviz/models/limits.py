"""Whether something fits, asked before anything is allocated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from attnviz.errors import AttnVizError

if TYPE_CHECKING:
    import torch  # takes seconds, and not every process that has limits needs it

GIB = 2**30

# Loading needs a little more than the weights: the largest tensor twice, the Python objects, and
# room for one forward pass of a short text.
MARGIN = 1.15
HEADROOM = 256 * 2**20

# Asked in turn to let go of so many bytes, before anything is refused for want of memory. Whoever
# keeps what can be made again adds itself.
memory_releasers: list[Callable[[int], None]] = []


def available_memory(device: torch.device | None = None) -> int:
    """Bytes that can still be allocated on `device` (the main memory when None).

    In a container the smaller of the machine's free memory and what the cgroup still grants.
    """
    if device is not None and device.type == "cuda":
        import torch

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
    wanted = int(needed * MARGIN) + HEADROOM
    free = available_memory(device)
    for release in memory_releasers:
        if wanted > free:
            release(wanted - free)
            free = available_memory(device)
    if wanted > free:
        where = "memory" if device is None or device.type != "cuda" else f"memory on {device}"
        raise AttnVizError(
            f"{what} needs about {format_bytes(wanted)} of {where}, "
            f"and {format_bytes(free)} is free.",
            "Choose a smaller model or a smaller number format, or close other programs.",
        )


def require_disk(needed: int, folder: Path, what: str) -> None:
    """Raise `AttnVizError` if `needed` bytes do not fit on the disk that holds `folder`."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed + HEADROOM > free:
        raise AttnVizError(
            f"{what} needs {format_bytes(needed + HEADROOM)} of disk space under {folder}, "
            f"and {format_bytes(free)} is free.",
            "Free some space there, or point ATTNVIZ_CACHE or HF_HOME at another disk.",
        )


def format_bytes(n_bytes: int) -> str:
    """Bytes for a person: ``format_bytes(3 * 2**30) == "3.0 GiB"``."""
    return f"{n_bytes / GIB:,.1f} GiB" if n_bytes >= GIB else f"{n_bytes / 2**20:,.0f} MiB"


def _cgroup_memory(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """What this process's control groups still grant it; None without a limit or outside Linux.

    Every group above the process's own has a say. Files that were read lately count as used there,
    though the kernel drops them when memory is needed: ``inactive_file`` of them are free.
    """
    granted = []
    for files, folder in _control_groups(root, membership):
        try:
            limit = int((folder / files.limit).read_text())
            used = int((folder / files.used).read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
        try:
            lines = (folder / "memory.stat").read_text().splitlines()
            used -= int(dict(line.split() for line in lines).get(files.cached, 0))
        except (OSError, ValueError):  # a kernel that tells no more
            pass
        granted.append(limit - max(0, used))
    return min(granted, default=None)


class _Files(NamedTuple):
    """What a version of control groups calls its files, and the cached files in memory.stat."""

    limit: str
    used: str
    cached: str


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def _control_groups(root: Path, membership: Path) -> Iterator[tuple[_Files, Path]]:
    """The folders of the process's memory groups, from its own up to the root's."""
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
