"""The line for a device: one job runs, the others wait and can tell their place.

A ticket is a file whose name begins with the time it was drawn, locked by the process that holds
it as long as it lives. The first living ticket may run. A killed process's lock falls with it, and
whoever looks next clears its ticket away.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

LOCK_SECONDS = 30  # looking at a line takes milliseconds; longer means a stuck disk


@dataclass(frozen=True)
class Ticket:
    """A place in the line of one device. path: the file that stands for it."""

    path: Path
    lock: FileLock


@contextmanager
def ticket(root: Path, device: str, name: str) -> Iterator[Ticket]:
    """Draws a ticket, and gives it back at the end.

    Args:
        root: the folder of all jobs. device: e.g. "cpu" or "cuda:0". name: the job's.
    """
    folder = _line(root, device)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{name}.ticket"
    held = FileLock(path)
    with _looking(folder):
        held.acquire(timeout=LOCK_SECONDS)
    try:
        yield Ticket(path, held)
    finally:
        with _looking(folder):
            path.unlink(missing_ok=True)
            held.release()


def ahead(root: Path, device: str, name: str) -> int | None:
    """How many jobs are before the one called ``name``: 0 may run. None if it stands in no line."""
    folder = _line(root, device)
    if not folder.is_dir():
        return None
    living = []
    with _looking(folder):
        for path in sorted(folder.glob("*.ticket")):
            if is_held(path):
                living.append(path)
            else:
                path.unlink(missing_ok=True)
    names = [re.sub(r"^\d+-(.*)\.ticket$", r"\1", path.name) for path in living]
    return names.index(name) if name in names else None


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock at ``path``."""
    if not path.exists():
        return False
    probe = FileLock(path)
    try:
        probe.acquire(blocking=False)
    except Timeout:
        return True
    probe.release()
    return False


def _line(root: Path, device: str) -> Path:
    return root / ".line" / re.sub(r"\W+", "-", device)


@contextmanager
def _looking(folder: Path) -> Iterator[None]:
    with FileLock(folder / "line.lock", timeout=LOCK_SECONDS):
        yield
