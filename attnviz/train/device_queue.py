"""The queue of a device: one job runs, the others wait.

A job in the queue is a ticket: a file whose name starts with the time at which the job joined, and
which identifies the job's process. The first ticket of a living process may run. Tickets of dead
processes are deleted the next time the queue is read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from attnviz.train.process_file import is_process_alive, write_process_file

LOCK_SECONDS = 30  # reading a queue takes milliseconds; longer means a disk that hangs


@contextmanager
def ticket(root: Path, device: str, name: str) -> Iterator[Path]:
    """Joins a device's queue (yields the ticket's path), and leaves it at the end.

    Args:
        root: the folder of all jobs.
        device: e.g. "cpu" or "cuda:0".
        name: the job's name.
    """
    folder = _queue_folder(root, device)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020d}-{name}.ticket"
    with _locked(folder):
        write_process_file(path)
    try:
        yield path
    finally:
        with _locked(folder):
            path.unlink(missing_ok=True)


def jobs_ahead(root: Path, device: str, name: str) -> int | None:
    """How many jobs are before the one called ``name``; at 0 it may run.

    None if the job is not in the queue.
    """
    folder = _queue_folder(root, device)
    if not folder.is_dir():
        return None
    waiting = []
    with _locked(folder):
        for path in sorted(folder.glob("*.ticket")):
            if is_process_alive(path):
                waiting.append(path)
            else:
                path.unlink(missing_ok=True)
    names = [re.sub(r"^\d+-(.*)\.ticket$", r"\1", path.name) for path in waiting]
    return names.index(name) if name in names else None


def _queue_folder(root: Path, device: str) -> Path:
    return root / ".line" / re.sub(r"\W+", "-", device)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with FileLock(folder / "line.lock", timeout=LOCK_SECONDS):
        yield
