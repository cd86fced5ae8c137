"""One job: a folder, and the process that works in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnviz.errors import AttnVizError
from attnviz.train import device_queue, events
from attnviz.train.events import Event
from attnviz.train.process_file import is_process_alive
from attnviz.train.settings import JobSettings, Limits, read, with_limits

State = Literal[
    "queued", "running", "paused", "stopped", "cancelled", "finished", "failed", "interrupted"
]
LIVE = ("queued", "running")  # states that a process is behind
RESUMABLE = ("paused", "stopped", "failed", "interrupted", "cancelled")

SETTINGS_FILE = "job.json"
LOG_FILE = "log"
REQUEST_FILE = "request"  # a file that says "pause" or "cancel"
LOCK_FILE = "work.lock"  # held by the one process that works on the job
PROCESS_FILE = "alive.json"  # says which that is
STARTING_SECONDS = 30  # Python has to start before the process can hold its lock


@dataclass(frozen=True)
class Status:
    """Where a job stands.

    Attributes:
        state: "stopped" is a limit reached; "interrupted" a process that ended without a word.
        step, steps: done, and to do.
        sentence: what a person should know about the state; often empty.
        jobs_ahead: jobs before it in the queue of its device, while it is queued.
        loss: the newest, None before the first.
    """

    state: State
    step: int
    steps: int
    sentence: str = ""
    jobs_ahead: int | None = None
    loss: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether a process is at work or in line."""
        return self.state in LIVE

    @property
    def can_resume(self) -> bool:
        """Whether it can go on from its last checkpoint."""
        return self.state in RESUMABLE


class Job:
    """A training, by its folder. Nothing here keeps state: several programs may look at one job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """What the folder is called."""
        return self.folder.name

    @property
    def settings(self) -> JobSettings:
        """What it was told."""
        return read(self.folder / SETTINGS_FILE)

    def events(self) -> tuple[Event, ...]:
        """Everything that happened, see `attnviz.train.events`."""
        return events.read(self.folder)

    @property
    def status(self) -> Status:
        """Where it stands now."""
        return self.status_from(self.events())

    def status_from(self, happened: tuple[Event, ...]) -> Status:
        """Where it stands, from events that were already read."""
        settings = self.settings
        states = events.of_kind(happened, "state")
        steps = events.of_kind(happened, "step")
        last: Event = states[-1] if states else {"state": "queued", "sentence": "", "time": 0.0}
        done = max((e["step"] for e in happened), default=0)
        loss = steps[-1].get("loss") if steps else None
        state: State = last["state"]
        sentence, ahead = last.get("sentence") or "", None
        if state in LIVE and not self.is_alive:
            again = events.of_kind(self.events(), "state")
            if again and again[-1] != last:  # it ended while we looked
                return self.status
            if abs(time.time() - last["time"]) > STARTING_SECONDS or state == "running":
                state = "interrupted"
                sentence = (
                    "The process ended without a word: it was killed, or the machine ran out of "
                    "memory. Resume goes on from the last checkpoint."
                )
        elif state == "queued":
            ahead = device_queue.jobs_ahead(self.folder.parent, settings.device, self.name)
        return Status(state, done, settings.schedule.steps, sentence, ahead, loss)

    @property
    def is_alive(self) -> bool:
        """Whether its process runs or waits."""
        return is_process_alive(self.folder / PROCESS_FILE)

    @property
    def checkpoint(self) -> Path | None:
        """The newest complete checkpoint: a folder that `attnviz.load` opens, or an adapter."""
        found = [p for p in (self.folder / "checkpoint").glob("step-*") if p.is_dir()]
        return max(found, default=None)

    @property
    def model(self) -> Path | None:
        """The folder with the whole trained model, for `attnviz.load`; None until there is one."""
        merged = self.folder / "model"
        if (merged / "config.json").is_file():
            return merged
        newest = self.checkpoint
        return newest if newest and (newest / "config.json").is_file() else None

    def snapshots(self) -> tuple[Path, ...]:
        """The kept attention of the probe, in the order of steps; see `snapshots.read`."""
        found = (self.folder / "snapshots").glob("step-*.safetensors")
        return tuple(sorted(p for p in found if re.fullmatch(r"step-\d{1,9}\.safetensors", p.name)))

    def cancel(self) -> None:
        """Ends it for good; the process writes a last checkpoint first."""
        self._ask("cancel", "cancelled")

    def pause(self) -> None:
        """Writes a checkpoint, ends the process and frees the device; `resume` goes on."""
        self._ask("pause", "paused")

    def resume(self, limits: Limits | None = None) -> None:
        """Goes on from the last checkpoint, or from the start where there is none.

        Args:
            limits: new ones, e.g. after a limit was reached.

        Raises:
            AttnVizError: it is finished or at work.
        """
        status = self.status
        if not status.can_resume:
            raise AttnVizError(f"A job that is {status.state} cannot be resumed.")
        if limits is not None:
            write_atomically(
                self.folder / SETTINGS_FILE, with_limits(self.settings, limits).to_json()
            )
        (self.folder / REQUEST_FILE).unlink(missing_ok=True)
        events.append(self.folder, "state", status.step, state="queued", sentence="")
        self.start()

    def start(self) -> None:
        """Starts the process, detached from this one: it outlives a browser and its server."""
        here = Path(__file__).resolve().parents[2]
        paths = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "attnviz.train", str(self.folder / SETTINGS_FILE)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        # Somebody has to take note of its end, or it stays in the process table.
        threading.Thread(target=process.wait, daemon=True, name=f"reap-{self.name}").start()

    def _ask(self, request: str, state: State) -> None:
        status = self.status
        if status.state in ("finished", "cancelled"):
            raise AttnVizError(f"The job is {status.state}.")
        write_atomically(self.folder / REQUEST_FILE, request)
        if not self.is_alive and not (status.state == "queued" and self._is_starting()):
            (self.folder / REQUEST_FILE).unlink(missing_ok=True)
            events.append(self.folder, "state", status.step, state=state, sentence="")

    def _is_starting(self) -> bool:
        states = events.of_kind(self.events(), "state")
        return bool(states) and abs(time.time() - states[-1]["time"]) < STARTING_SECONDS


def write_atomically(path: Path, text: str) -> None:
    """Writes a small file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def pending_request(folder: Path) -> str:
    """What somebody asked of the job: "pause", "cancel" or ""."""
    try:
        return (folder / REQUEST_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # nobody asked, or not in words
        return ""
