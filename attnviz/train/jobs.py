"""All jobs of this user."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

from attnviz.errors import AttnVizError
from attnviz.models.user_folders import data_folder
from attnviz.train import events
from attnviz.train.job import SETTINGS_FILE, Job, write_atomically
from attnviz.train.settings import FinetuneWork, JobSettings


def folder() -> Path:
    """Where jobs are kept: $ATTNVIZ_JOBS, else `attnviz/jobs` in the user's data folder."""
    return data_folder("jobs", "ATTNVIZ_JOBS")


def submit(settings: JobSettings, data: bytes | None = None) -> Job:
    """Makes the job's folder and starts its process, which waits until its device is free.

    Args:
        data: an uploaded file, which is kept in the folder under the work's ``data`` name.

    Raises:
        AttnVizError: the device is not there, or the folder cannot be written.
    """
    job = create(settings, data)
    job.start()
    return job


def create(settings: JobSettings, data: bytes | None = None) -> Job:
    """Makes the job's folder and starts nothing: for ``accelerate launch -m attnviz.train``."""
    settings = replace(settings, device=_resolved(settings.device))
    if data is not None and isinstance(settings.work, FinetuneWork):
        name = f"data{Path(settings.work.data).suffix.lower()}"
        settings = replace(settings, work=replace(settings.work, data=name))
    words = re.sub(r"[^a-z0-9]+", "-", settings.title.lower()).strip("-")[:40] or "training"
    root = folder()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        path = root / f"{stamp}-{words}{'' if number == 1 else f'-{number}'}"
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise AttnVizError(
                f"The jobs folder {root} cannot be written ({error.strerror}).",
                "Point ATTNVIZ_JOBS at a folder of yours.",
            ) from error
    if data is not None and isinstance(settings.work, FinetuneWork):
        (path / settings.work.data).write_bytes(data)
    write_atomically(path / SETTINGS_FILE, settings.to_json())
    events.append(path, "state", 0, state="queued", sentence="")
    return Job(path)


def all() -> tuple[Job, ...]:
    """Every job, the newest first; also one whose settings are gone, so that it can be deleted.

    Raises:
        AttnVizError: the jobs folder cannot be read.
    """
    root = folder()
    try:
        found = [path for path in root.iterdir() if path.is_dir() and path.name[:1] != "."]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AttnVizError(
            f"The jobs folder {root} cannot be read ({error.strerror}).",
            "Point ATTNVIZ_JOBS at a folder of yours.",
        ) from error
    return tuple(Job(path) for path in sorted(found, reverse=True))


def find(name: str) -> Job:
    """The job called ``name``.

    Raises:
        AttnVizError: there is none.
    """
    for job in all():
        if job.name == name:
            return job
    raise AttnVizError(f"There is no job '{name[:80]}'.", "It may have been deleted.")


def delete(job: Job) -> None:
    """Removes a job's folder with all that it learned.

    Raises:
        AttnVizError: it is at work, or its files cannot be removed.
    """
    if job.is_alive:
        raise AttnVizError("The job is at work.", "Cancel it first.")
    try:
        if job.folder.is_symlink():  # what it leads to is not ours
            job.folder.unlink()
        else:
            shutil.rmtree(job.folder)
    except OSError as error:
        raise AttnVizError(
            f"The job {job.name} cannot be deleted ({error.strerror}).",
            f"Remove {job.folder} by hand.",
        ) from error


def _resolved(device: str) -> str:
    """A device's whole name, so that everyone means the same line. The CPU needs no torch."""
    if device == "cpu":
        return device
    from attnviz.models.devices import resolve_device

    found = resolve_device(device)
    return f"cuda:{found.index or 0}" if found.type == "cuda" else found.type
