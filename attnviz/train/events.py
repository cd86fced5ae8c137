"""A job's events: one JSON object a line, appended, readable while it is being written.

Kinds: "state" (state, sentence), "step" (loss, learning_rate, memory in bytes, and
tokens_per_second of the steps alone, without looks at the probe and checkpoints),
"evaluation" (loss, accuracy, exact), "probe" (text, target), "snapshot" (file), "checkpoint"
(name), "resumed". Each has a ``time`` in seconds since 1970 and the ``step`` it belongs to.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

Event = dict[str, Any]
FILE = "events.jsonl"


def append(folder: Path, kind: str, step: int, **values: Any) -> None:
    """Writes one event as a whole line; a line that a killed process left torn is closed first."""
    path = folder / FILE
    finite = {k: _finite(v) for k, v in values.items()}
    line = json.dumps({"event": kind, "step": step, "time": time.time(), **finite})
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        torn = False
        if size:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + line.encode() + b"\n")


def read(folder: Path) -> tuple[Event, ...]:
    """What happened, in order; what a resumed training did again is there once."""
    try:
        lines = (folder / FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return ()
    happened: list[Event] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # torn by a kill, or half written at this moment
            continue
        if not isinstance(event, dict) or "event" not in event or "step" not in event:
            continue
        if event["event"] == "resumed":
            happened = [e for e in happened if e["event"] == "state" or e["step"] <= event["step"]]
        happened.append(event)
    return tuple(happened)


def of_kind(events: tuple[Event, ...], kind: str) -> tuple[Event, ...]:
    """The events of one kind."""
    return tuple(event for event in events if event["event"] == kind)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
