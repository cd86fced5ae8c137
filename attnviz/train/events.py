"""A job's events: one JSON object per line, appended, readable while the file is being written.

Kinds, with their values:

- "state": state, sentence (for the person)
- "step": loss, learning_rate, memory in bytes, tokens_per_second (training steps alone, without
  snapshots and checkpoints)
- "evaluation": loss, accuracy, exact
- "probe": text, target
- "snapshot": file
- "checkpoint": name
- "resumed": later events with a higher step replace the earlier ones

Each event has the ``step`` it belongs to and a ``time`` in seconds since 1970.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from attnviz.errors import AttnVizError
from attnviz.models import bounded_json

Event = dict[str, Any]
FILE = "events.jsonl"
MAX_BYTES = 64 * 2**20  # a training of a million steps writes a few hundred kilobytes
MAX_NUMBER = 1e15  # bytes of memory, the largest numbers in an event, are about 1e12
STATES = ("queued", "running", "paused", "stopped", "cancelled", "finished", "failed")

_NUMBER = (int, float)
_ABSENT = (type(None),)  # missing, or null, which stands for NaN in JSON
# The types of the values that are read from each kind of event.
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    "state": {"state": (str,), "sentence": (str, *_ABSENT)},
    "step": dict.fromkeys(("loss", "tokens_per_second", "memory"), (*_NUMBER, *_ABSENT)),
    "evaluation": {"loss": (*_NUMBER, *_ABSENT), "accuracy": _NUMBER, "exact": _NUMBER},
    "probe": {"text": (str, *_ABSENT), "target": (str, *_ABSENT)},
}


def append(folder: Path, kind: str, step: int, **values: Any) -> None:
    """Appends one event as a line of its own, after the end of a line that a kill cut off."""
    path = folder / FILE
    finite = {k: _finite(v) for k, v in values.items()}
    line = json.dumps({"event": kind, "step": step, "time": time.time(), **finite})
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        partial = False
        if size:
            file.seek(size - 1)
            partial = file.read(1) != b"\n"
        file.write((b"\n" if partial else b"") + line.encode() + b"\n")


def read(folder: Path) -> tuple[Event, ...]:
    """All events in order; steps that were repeated after resuming occur once.

    Invalid lines are skipped: a kill or a damaged disk may leave some.

    Raises:
        AttnVizError: the file exists and cannot be read.
    """
    try:
        with (folder / FILE).open("rb") as file:
            lines = file.read(MAX_BYTES).split(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AttnVizError(
            f"What happened in the job {folder.name} cannot be read ({error.strerror}).",
            "Delete the job, or repair its folder.",
        ) from error
    found: list[Event] = []
    for line in lines:
        try:
            event = bounded_json.parse(line)
        except ValueError:
            continue
        if not _is_valid(event):
            continue
        if event["event"] == "resumed":
            found = [e for e in found if e["event"] == "state" or e["step"] <= event["step"]]
        found.append(event)
    return tuple(found)


def of_kind(events: tuple[Event, ...], kind: str) -> tuple[Event, ...]:
    """The events of one kind."""
    return tuple(event for event in events if event["event"] == kind)


def _is_valid(event: Any) -> bool:
    """Whether a line's value is an event, with the types that its readers expect."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return False
    expected = {"step": (int,), "time": _NUMBER, **_TYPES.get(event["event"], {})}
    for name, types in expected.items():
        value = event.get(name)
        if type(value) not in types:
            return False
        if isinstance(value, _NUMBER) and not abs(value) < MAX_NUMBER:  # also infinity and NaN
            return False
    return event["step"] >= 0 and event.get("state", STATES[0]) in STATES


def _finite(value: Any) -> Any:
    """None for NaN and infinity, which JSON cannot express."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
