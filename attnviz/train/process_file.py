"""A file that identifies a running process, so that other programs can see whether it is alive.

Checking only reads. Each check of a lock would take it for a moment, and two checks at the same
time would mistake each other for the process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

START_TOLERANCE = 2.0  # seconds; adjusting the system clock shifts the reported start of a process
MAX_BYTES = 1024


@contextmanager
def process_file(path: Path) -> Iterator[None]:
    """Keeps a file at ``path`` that identifies this process, and deletes it at the end."""
    write_process_file(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_process_file(path: Path) -> None:
    """Writes the id and the start time of this process to ``path``, atomically."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(json.dumps({"pid": os.getpid(), "started": psutil.Process().create_time()}))
    os.replace(draft, path)


def is_process_alive(path: Path) -> bool:
    """Whether the process that wrote the file at ``path`` is alive.

    The start time has to match as well, since the system reuses process ids.
    """
    try:
        with path.open("rb") as file:
            recorded = json.loads(file.read(MAX_BYTES))
        process = psutil.Process(int(recorded["pid"]))
        same = abs(process.create_time() - float(recorded["started"])) < START_TOLERANCE
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return False  # no such file, or not one of ours
    except psutil.Error:
        return False
