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

from attnviz.errors import AttnVizError
from attnviz.models import bounded_json

Event = dict[str, Any]
FILE = "events.jsonl"
MAX_BYTES = 64 * 2**20  # a training of a million steps writes a few hundred kilobytes
MOST = 1e15  # of any number: bytes of memory are some 1e12
STATES = ("queued", "running", "paused", "stopped", "cancelled", "finished", "failed")

_NUMBER = (int, float)
_ABSENT = (type(None),)  # left out, or null: JSON has no NaN
# Of what type everything is that is read of an event of each kind.
_KINDS: dict[str, dict[str, tuple[type, ...]]] = {
    "state": {"state": (str,), "sentence": (str, *_ABSENT)},
    "step": dict.fromkeys(("loss", "tokens_per_second", "memory"), (*_NUMBER, *_ABSENT)),
    "evaluation": {"loss": (*_NUMBER, *_ABSENT), "accuracy": _NUMBER, "exact": _NUMBER},
    "probe": {"text": (str, *_ABSENT), "target": (str, *_ABSENT)},
}


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
    """What happened, in order; what a resumed training did again is there once.

    What is no event is passed over: a line that a kill has torn, or a damaged one.

    Raises:
        AttnVizError: the file is there and cannot be read.
    """
    try:
        with (folder / FILE).open("rb") as file:
            lines = file.read(MAX_BYTES).split(b"\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AttnVizError(
            f"What happened in the job {folder.name} cannot be read ({error.strerror}).",
            "Delete the job, or mend its folder.",
        ) from error
    happened: list[Event] = []
    for line in lines:
        try:
            event = bounded_json.parse(line)
        except ValueError:
            continue
        if not _sound(event):
            continue
        if event["event"] == "resumed":
            happened = [e for e in happened if e["event"] == "state" or e["step"] <= event["step"]]
        happened.append(event)
    return tuple(happened)


def of_kind(events: tuple[Event, ...], kind: str) -> tuple[Event, ...]:
    """The events of one kind."""
    return tuple(event for event in events if event["event"] == kind)


def _sound(event: Any) -> bool:
    """Whether a line's value is an event, with all that is read of one of its kind."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return False
    for name, kinds in {"step": (int,), "time": _NUMBER, **_KINDS.get(event["event"], {})}.items():
        value = event.get(name)
        if type(value) not in kinds:
            return False
        if isinstance(value, _NUMBER) and not abs(value) < MOST:  # an infinity or a NaN too
            return False
    return event["step"] >= 0 and event.get("state", STATES[0]) in STATES


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
