"""Damaged job folders: after crashes and full disks, and with content that is not ours."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from attnviz.train.events import FILE as EVENTS
from attnviz.train.job import LOG_FILE, PROCESS_FILE, REQUEST_FILE, SETTINGS_FILE

SETTINGS = {"title": "damaged", "work": {"kind": "task", "task": "copy"}}


def sound(folder: Path) -> Path:
    """A canceled job, undamaged."""
    folder.mkdir(parents=True)
    (folder / SETTINGS_FILE).write_text(json.dumps(SETTINGS))
    state = {"event": "state", "step": 9, "time": 1e9, "state": "cancelled", "sentence": ""}
    (folder / EVENTS).write_text(json.dumps(state) + "\n")
    return folder


def _settings(**changes: object) -> Callable[[Path], None]:
    return lambda folder: void((folder / SETTINGS_FILE).write_text(json.dumps(SETTINGS | changes)))


def _raw(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_bytes(content))


def _event(kind: str, step: object = 1, **values: object) -> Callable[[Path], None]:
    """Inserts an event before the state."""

    def damage(folder: Path) -> None:
        line = json.dumps({"event": kind, "step": step, "time": 1e9} | values)
        before = (folder / EVENTS).read_text()
        (folder / EVENTS).write_text(line + "\n" + before)

    return damage


def _replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return damage


def _snapshot(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "snapshots").mkdir()
        (folder / "snapshots" / name).write_bytes(content)

    return damage


def _checkpoint(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / "checkpoint" / name).mkdir(parents=True)
        (folder / "checkpoint" / name / "config.json").write_text("{}")
        (folder / "checkpoint" / "step-9").write_text("a file")

    return damage


def void(_: object) -> None:
    """None, whatever ``write`` returned."""


def _header(content: dict[str, object]) -> bytes:
    """A safetensors file without tensors that says it is a snapshot."""
    header = json.dumps({"__metadata__": {"format": "1", "snapshot": json.dumps(content)}}).encode()
    return len(header).to_bytes(8, "little") + header


_LAYER = {"name": "x", "kind": "decoder", "source": "exact", "reason": "", "index": 0}

DAMAGES: dict[str, Callable[[Path], None]] = {
    "no settings": lambda folder: (folder / SETTINGS_FILE).unlink(),
    "empty settings": _raw(SETTINGS_FILE, b""),
    "settings that are no JSON": _raw(SETTINGS_FILE, b"{not json"),
    "settings that are no text": _raw(SETTINGS_FILE, b"\xff\xfe\x00"),
    "settings in a list": _raw(SETTINGS_FILE, b"[1, 2]"),
    "settings in a list in the depth": _raw(SETTINGS_FILE, b"[" * 100_000),
    "settings of huge digits": _raw(SETTINGS_FILE, b'{"work": ' + b"9" * 100_000 + b"}"),
    "settings in a folder": _replaced(SETTINGS_FILE, Path.mkdir),
    "settings that lead to themselves": _replaced(
        SETTINGS_FILE, lambda path: path.symlink_to(path)
    ),
    "settings that are a file of holes": _replaced(
        SETTINGS_FILE, lambda path: (path.touch(), os.truncate(path, 2**35))
    ),
    "no work": _settings(work=None),
    "work of another kind": _settings(work={"kind": "sing"}),
    "work without a task": _settings(work={"kind": "task"}),
    "a task that is unknown": _settings(work={"kind": "task", "task": "nosuch"}),
    "a task in a list": _settings(work={"kind": "task", "task": ["copy"]}),
    "a title that is a number": _settings(title=7),
    "a device in a list": _settings(device=["cpu"]),
    "a schedule that is a number": _settings(schedule=7),
    "a schedule of words": _settings(schedule={"steps": "many"}),
    "a schedule of no number": _settings(schedule={"learning_rate": float("nan")}),
    "a schedule without end": _settings(schedule={"steps": 10**30}),
    "marks of words": _settings(schedule={"snapshot_steps": ["a"]}),
    "marks that are a number": _settings(schedule={"snapshot_steps": 3}),
    "limits in a list": _settings(limits=[1]),
    "limits of words": _settings(limits={"minutes": "x"}),
    "an unknown setting": _settings(colour="red"),
    "no events": lambda folder: (folder / EVENTS).unlink(),
    "events in a folder": _replaced(EVENTS, Path.mkdir),
    "events that lead to themselves": _replaced(EVENTS, lambda path: path.symlink_to(path)),
    "events of noise": _raw(EVENTS, bytes(range(256)) * 40),
    "events that are numbers": _raw(EVENTS, b'1\n"x"\n[]\nnull\n{}\n' * 5),
    "events of another program": _raw(EVENTS, b'{"event": 3, "step": "x"}\n' * 5),
    "a state that is unknown": _event("state", 2, state="dancing", sentence=""),
    "a state last that is unknown": lambda folder: void(
        (folder / EVENTS).open("a").write('{"event": "state", "step": 1, "time": 1, "state": "x"}')
    ),
    "a state without a time": _raw(EVENTS, b'{"event": "state", "step": 1, "state": "queued"}\n'),
    "a state from the future": _raw(
        EVENTS,
        json.dumps(
            {"event": "state", "step": 1, "time": time.time() + 1e6, "state": "queued"}
        ).encode(),
    ),
    "running long ago": _raw(
        EVENTS, b'{"event": "state", "step": 1, "time": 5, "state": "running", "sentence": ""}\n'
    ),
    "a step of words": _event("step", "x", loss=1.0),
    "a step below zero": _event("step", -5, loss=1.0, tokens_per_second=1.0, memory=1),
    "a step without a loss": _event("step", 3),
    "a loss of words": _event("step", 3, loss="low", tokens_per_second=1.0, memory=1),
    "a loss beyond numbers": _raw(
        EVENTS, b'{"event": "step", "step": 3, "time": 1, "loss": 1e999}'
    ),
    "speed of words": _event("step", 3, loss=1.0, tokens_per_second="fast", memory=None),
    "an evaluation without numbers": _event("evaluation", 3),
    "an evaluation of words": _event("evaluation", 3, loss=1, accuracy="good", exact=1),
    "a probe without a text": _event("probe", 0),
    "a probe in a list": _event("probe", 0, text=["a"], target={}),
    "resumed at no step": _event("resumed", None),
    "a snapshot of noise": _snapshot("step-0000001.safetensors", bytes(range(256))),
    "a snapshot that is empty": _snapshot("step-0000001.safetensors", b""),
    "a snapshot of no step": _snapshot("step-last.safetensors", b"x"),
    "a snapshot of a damaged layer": _snapshot(
        "step-0000001.safetensors",
        _header(
            {
                "step": 1,
                "layers": [{**_LAYER, "kept": {"form": "products"}}],
                "tokens": [],
                "target_tokens": [],
                "predictions": [],
            }
        ),
    ),
    "a snapshot of no layers": _snapshot(
        "step-0000001.safetensors",
        _header({"step": 1, "layers": [], "tokens": [], "target_tokens": [], "predictions": []}),
    ),
    "a snapshot of words": _snapshot(
        "step-0000001.safetensors",
        _header({"step": "x", "layers": "yz", "tokens": 3, "predictions": None}),
    ),
    "a checkpoint of no step": _checkpoint("step-x"),
    "a checkpoint that is empty": _checkpoint("step-0000003"),
    "a request in a folder": _replaced(REQUEST_FILE, Path.mkdir),
    "a request of noise": _raw(REQUEST_FILE, b"\xff\xfe"),
    "a log in a folder": _replaced(LOG_FILE, Path.mkdir),
    "another user's process": _raw(PROCESS_FILE, json.dumps({"pid": 1, "started": 5}).encode()),
    "our own process at another time": _raw(
        PROCESS_FILE, json.dumps({"pid": os.getpid(), "started": 5}).encode()
    ),
    "a process that cannot be": _raw(PROCESS_FILE, b'{"pid": 1e999, "started": [1]}'),
    "a process below zero": _raw(PROCESS_FILE, b'{"pid": -1, "started": 1}'),
    "a sign of noise": _raw(PROCESS_FILE, b"\x00\xff"),
    "a folder with nothing in it": lambda folder: (shutil.rmtree(folder), folder.mkdir())[1],
}
