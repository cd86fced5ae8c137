"""A job: a folder, and the process that works in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from attnviz.errors import AttnVizError
from attnviz.train import device_queue, events
from attnviz.train.events import Event
from attnviz.train.process_file import is_process_alive
from attnviz.train.settings import JobSettings, Limits, read

State = Literal[
    "queued", "running", "paused", "stopped", "cancelled", "finished", "failed", "interrupted"
]
ACTIVE_STATES = ("queued", "running")
RESUMABLE_STATES = ("paused", "stopped", "failed", "interrupted", "cancelled")

SETTINGS_FILE = "job.json"
LOG_FILE = "log"
REQUEST_FILE = "request"  # its text is "pause" or "cancel"
LOCK_FILE = "work.lock"  # locked by the process that works on the job
PROCESS_FILE = "alive.json"  # identifies that process
STARTUP_SECONDS = 30  # until a new process has started Python and written its file


@dataclass(frozen=True)
class Status:
    """The state and the progress of a job.

    Attributes:
        state: "stopped" means that a limit was reached; "interrupted", that the process died.
        step, steps: how many are done; how many there are in all.
        sentence: an explanation of the state for the person; often empty.
        jobs_ahead: jobs before it in its device's queue, while it is queued.
        loss: the newest training loss, None before the first.
    """

    state: State
    step: int
    steps: int
    sentence: str = ""
    jobs_ahead: int | None = None
    loss: float | None = None

    @property
    def is_active(self) -> bool:
        """Whether the job is running or queued."""
        return self.state in ACTIVE_STATES

    @property
    def can_resume(self) -> bool:
        """Whether it can continue from its last checkpoint."""
        return self.state in RESUMABLE_STATES


class Job:
    """A training, by its folder. The object has no state of its own, so several may exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def settings(self) -> JobSettings:
        """The settings in job.json."""
        return read(self.folder / SETTINGS_FILE)

    def events(self) -> tuple[Event, ...]:
        """All events so far, see `attnviz.train.events`."""
        return events.read(self.folder)

    @property
    def status(self) -> Status:
        """The current status."""
        return self.status_from(self.events())

    def status_from(self, history: tuple[Event, ...]) -> Status:
        """The status, from events that were already read."""
        settings = self.settings
        states = events.of_kind(history, "state")
        steps = events.of_kind(history, "step")
        last: Event = states[-1] if states else {"state": "queued", "sentence": "", "time": 0.0}
        step = max((e["step"] for e in history), default=0)
        loss = steps[-1].get("loss") if steps else None
        state: State = last["state"]
        sentence, jobs_ahead = last.get("sentence") or "", None
        if state in ACTIVE_STATES and not self.is_alive:
            newer = events.of_kind(self.events(), "state")
            if newer and newer[-1] != last:  # it ended after the events had been read
                return self.status
            if abs(time.time() - last["time"]) > STARTUP_SECONDS or state == "running":
                state = "interrupted"
                sentence = (
                    "The process exited unexpectedly: it was killed, or the machine ran out of "
                    "memory. Resume goes on from the last checkpoint."
                )
        elif state == "queued":
            jobs_ahead = device_queue.jobs_ahead(self.folder.parent, settings.device, self.name)
        return Status(state, step, settings.schedule.steps, sentence, jobs_ahead, loss)

    @property
    def is_alive(self) -> bool:
        """Whether the job's process exists, running or queued."""
        return is_process_alive(self.folder / PROCESS_FILE)

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint: a folder for `attnviz.load`, or an adapter's."""
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
        """The files of the snapshots, in the order of steps; see `snapshots.read`."""
        found = (self.folder / "snapshots").glob("step-*.safetensors")
        return tuple(sorted(p for p in found if re.fullmatch(r"step-\d{1,9}\.safetensors", p.name)))

    def cancel(self) -> None:
        """Requests the end of the job; its process writes a last checkpoint first.

        Raises:
            AttnVizError: it has finished or was canceled before.
        """
        self._request("cancel", "cancelled")

    def pause(self) -> None:
        """Requests a checkpoint and the end of the process, which frees the device.

        Raises:
            AttnVizError: it has finished or was canceled.
        """
        self._request("pause", "paused")

    def resume(self, limits: Limits | None = None) -> None:
        """Continues from the last checkpoint, or from the start if there is none.

        Args:
            limits: new limits, e.g. after one was reached.

        Raises:
            AttnVizError: the job has finished or is active.
        """
        status = self.status
        if not status.can_resume:
            raise AttnVizError(f"A job that is {status.state} cannot be resumed.")
        if limits is not None:
            settings = replace(self.settings, limits=limits)
            write_atomically(self.folder / SETTINGS_FILE, settings.to_json())
        (self.folder / REQUEST_FILE).unlink(missing_ok=True)
        events.append(self.folder, "state", status.step, state="queued", sentence="")
        self.start()

    def start(self) -> None:
        """Starts the process, detached, so that it survives the browser and the server."""
        root = Path(__file__).resolve().parents[2]
        paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "attnviz.train", str(self.folder / SETTINGS_FILE)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        # Without a wait, the ended process would remain in the process table as a zombie.
        threading.Thread(target=process.wait, daemon=True, name=f"reap-{self.name}").start()

    def _request(self, request: str, state: State) -> None:
        status = self.status
        if status.state in ("finished", "cancelled"):
            raise AttnVizError(f"The job is {status.state}.")
        write_atomically(self.folder / REQUEST_FILE, request)
        if not self.is_alive and not (status.state == "queued" and self._is_starting()):
            (self.folder / REQUEST_FILE).unlink(missing_ok=True)
            events.append(self.folder, "state", status.step, state=state, sentence="")

    def _is_starting(self) -> bool:
        states = events.of_kind(self.events(), "state")
        return bool(states) and abs(time.time() - states[-1]["time"]) < STARTUP_SECONDS


def write_atomically(path: Path, text: str) -> None:
    """Writes a small file so that readers see either the old text or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def pending_request(folder: Path) -> str:
    """The request that the job has not answered yet: "pause", "cancel" or ""."""
    try:
        return (folder / REQUEST_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):  # no request, or a damaged one
        return ""
