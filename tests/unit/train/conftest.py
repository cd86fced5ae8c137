"""Jobs in a folder of the test's own, small enough to run in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnviz.train.job import Job, Status
from attnviz.train.settings import JobSettings, Schedule
from attnviz.train.tasks import find
from attnviz.train.tasks.task import settings_for

SECONDS = 180  # Python and torch start in 3 s alone, and in a minute on a busy machine
TINY = {"d_model": 16, "n_heads": 2, "n_layers": 1}


@pytest.fixture(autouse=True)
def jobs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "jobs"
    monkeypatch.setenv("ATTNVIZ_JOBS", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # jobs share the machine with other tests
    return folder


@pytest.fixture
def tiny() -> Callable[..., JobSettings]:
    """A job that learns a task with a tiny transformer: ``tiny("copy", steps=12)``."""

    def make(
        name: str = "copy", *, model: dict[str, Any] | None = None, **schedule: Any
    ) -> JobSettings:
        values = {"batch_size": 8, "evaluations": 2, "checkpoints": 3, "snapshots": 2, "warmup": 2}
        task = find(name)
        numbers = replace(task.schedule, **{**values, "steps": 12, **schedule})
        assert isinstance(numbers, Schedule)
        return settings_for(task, model={**TINY, **(model or {})}, schedule=numbers)

    return make


def wait(job: Job, until: Callable[[Status], bool], seconds: float = SECONDS) -> Status:
    """The status for which ``until`` holds, looked at often; fails with the log after a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = job.status
        if until(status):
            return status
        time.sleep(0.05)
    raise AssertionError(f"{job.status}\n{(job.folder / 'log').read_text()[-3000:]}")


def curve(job: Job) -> dict[int, float]:
    """Loss by step."""
    return {e["step"]: e["loss"] for e in job.events() if e["event"] == "step"}
