"""The line for a device: one job runs, the others wait and can tell their place.

A ticket is a file whose name begins with the time it was drawn, and which names the process that
holds it. The first ticket of a living process may run; whoever looks next clears the others away.

To look is to read: nobody who asks whether a process lives takes a lock for it, so that any number
may ask at once and none of them is taken for the process itself.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock

LOCK_SECONDS = 30  # looking at a line takes milliseconds; longer means a stuck disk
SAME_START = 2.0  # seconds between two readings of one process's start: clocks are set
MAX_BYTES = 1024


@contextmanager
def ticket(root: Path, device: str, name: str) -> Iterator[Path]:
    """Draws a ticket (the file's path), and gives it back at the end.

    Args:
        root: the folder of all jobs. device: e.g. "cpu" or "cuda:0". name: the job's.
    """
    folder = _line(root, device)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{name}.ticket"
    with _looking(folder):
        sign(path)
    try:
        yield path
    finally:
        with _looking(folder):
            path.unlink(missing_ok=True)


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


@contextmanager
def signed(path: Path) -> Iterator[None]:
    """The file at ``path`` says for as long that this process lives."""
    sign(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def sign(path: Path) -> None:
    """Writes into the file at ``path`` which process this is."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time()}))
    os.replace(draft, path)


def is_held(path: Path) -> bool:
    """Whether the process that signed the file at ``path`` lives; a number is given out again, so
    it also has to have started when that one did."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(MAX_BYTES))
        process = psutil.Process(int(said["pid"]))
        same = abs(process.create_time() - float(said["started"])) < SAME_START
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return False  # nobody has signed it, or nobody's hand
    except psutil.Error:
        return False


def _line(root: Path, device: str) -> Path:
    return root / ".line" / re.sub(r"\W+", "-", device)


@contextmanager
def _looking(folder: Path) -> Iterator[None]:
    with FileLock(folder / "line.lock", timeout=LOCK_SECONDS):
        yield
