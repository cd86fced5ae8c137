"""The jobs of this user: list, create, submit, delete."""

from __future__ import annotations

import itertools
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
    """The folder of all jobs: $ATTNVIZ_JOBS, or `attnviz/jobs` in the user's data folder."""
    return data_folder("jobs", "ATTNVIZ_JOBS")


def submit(settings: JobSettings, data: bytes | None = None) -> Job:
    """Creates a job and starts its process, which waits until the device is free.

    Args:
        data: an uploaded file; it is copied into the job's folder.

    Raises:
        AttnVizError: the device does not exist, or the folder cannot be written.
    """
    job = create(settings, data)
    job.start()
    return job


def create(settings: JobSettings, data: bytes | None = None) -> Job:
    """Creates a job without starting it, e.g. for ``accelerate launch -m attnviz.train``.

    Args and errors as for `submit`.
    """
    settings = replace(settings, device=_full_device_name(settings.device))
    if data is not None and isinstance(settings.work, FinetuneWork):
        name = f"data{Path(settings.work.data).suffix.lower()}"
        settings = replace(settings, work=replace(settings.work, data=name))
    path = _new_folder(settings.title)
    if data is not None and isinstance(settings.work, FinetuneWork):
        (path / settings.work.data).write_bytes(data)
    write_atomically(path / SETTINGS_FILE, settings.to_json())
    events.append(path, "state", 0, state="queued", sentence="")
    return Job(path)


def _new_folder(title: str) -> Path:
    """A new folder, named by the time and the title, with a number if that name is taken."""
    root = folder()
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "training"
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}"
    for number in itertools.count(1):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise AttnVizError(
                f"The jobs folder {root} cannot be written ({error.strerror}).",
                "Point ATTNVIZ_JOBS at a folder you can write to.",
            ) from error
    return path


def all() -> tuple[Job, ...]:
    """All jobs, the newest first; damaged ones too, so that they can be deleted.

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
            "Point ATTNVIZ_JOBS at a folder you can write to.",
        ) from error
    return tuple(Job(path) for path in sorted(found, reverse=True))


def find(name: str) -> Job:
    """The job called ``name``.

    Raises:
        AttnVizError: there is no such job.
    """
    for job in all():
        if job.name == name:
            return job
    raise AttnVizError(f"There is no job '{name[:80]}'.", "It may have been deleted.")


def delete(job: Job) -> None:
    """Deletes a job's folder with everything in it.

    Raises:
        AttnVizError: the job is active, or its files cannot be removed.
    """
    if job.is_alive:
        raise AttnVizError("The job is running.", "Cancel it first.")
    try:
        if job.folder.is_symlink():  # its target is not ours to delete
            job.folder.unlink()
        else:
            shutil.rmtree(job.folder)
    except OSError as error:
        raise AttnVizError(
            f"The job {job.name} cannot be deleted ({error.strerror}).",
            f"Remove {job.folder} by hand.",
        ) from error


def _full_device_name(device: str) -> str:
    """E.g. "cuda:0" for "cuda", so that every job names a device's queue alike."""
    if device == "cpu":  # needs no torch, which is slow to load
        return device
    from attnviz.models.devices import resolve_device

    resolved = resolve_device(device)
    return f"cuda:{resolved.index or 0}" if resolved.type == "cuda" else resolved.type
