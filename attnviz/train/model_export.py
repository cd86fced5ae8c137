"""A job's trained model: added to the catalog, or packed as a zip file."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from typing import Literal

from attnviz.errors import AttnVizError
from attnviz.models import catalog
from attnviz.train.checkpoint_files import RESUME_FOLDER, write_folder
from attnviz.train.job import Job

ExportForm = Literal["model", "adapter"]
CATALOG_FILE = "entry.json"  # of use to the catalog alone, so it is not exported


def add_to_catalog(job: Job, name: str) -> Path:
    """Copies the job's model into the catalog, which every page lists; returns its folder.

    Raises:
        AttnVizError: there is no model yet, or the name is invalid or taken.
    """
    if job.model is None:
        raise AttnVizError("This job has no model to keep.", "Let it reach a checkpoint first.")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name):
        raise AttnVizError(
            f"'{name[:80]}' cannot be a name.", "Use letters, digits, dots and hyphens."
        )
    if any(entry.name == name for entry in catalog.entries()):
        raise AttnVizError(f"There is a model called '{name}' already.", "Choose another name.")
    source = job.model

    def fill(folder: Path) -> None:
        for path in source.iterdir():
            if path.is_file():
                shutil.copy(path, folder)

    target = catalog.trained_models_folder() / name
    write_folder(target, fill)
    return target


def saved_models() -> tuple[str, ...]:
    """The names of the models that were added to the catalog."""
    root = catalog.trained_models_folder().resolve()
    return tuple(e.name for e in catalog.entries() if e.source.parent.resolve() == root)


def remove_from_catalog(name: str) -> None:
    """Deletes a model that was added to the catalog. The job it came from keeps its own.

    Raises:
        AttnVizError: there is no such model, or its files cannot be removed.
    """
    if name not in saved_models():
        raise AttnVizError(f"There is no saved model called '{name[:80]}'.", "Reload the page.")
    folder = catalog.trained_models_folder() / name
    try:
        if folder.is_symlink():  # what it points to belongs to someone else
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        raise AttnVizError(
            f"The model {name} cannot be removed ({error.strerror}).", f"Remove {folder} by hand."
        ) from error


def export_forms(job: Job) -> tuple[ExportForm, ...]:
    """What `export_zip` can write for a job."""
    newest = job.checkpoint
    forms: list[ExportForm] = ["model"] if job.model else []
    if newest is not None and (newest / "adapter_config.json").is_file():
        forms.append("adapter")
    return tuple(forms)


def export_zip(job: Job, form: ExportForm, target: Path) -> Path:
    """Writes the model, or the adapter alone, as a zip file with `save_pretrained`'s layout.

    Raises:
        AttnVizError: the job has no such form.
    """
    if form not in export_forms(job):
        raise AttnVizError(f"This job has no {form} to save.", "Let it reach a checkpoint first.")
    source = job.model if form == "model" else job.checkpoint
    assert source is not None
    draft = target.with_name(f".draft-{target.name}")
    try:
        # stored without compression: weights hardly compress
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as packed:
            for path in sorted(source.rglob("*")):
                inside = path.relative_to(source)
                if not path.is_file() or inside.parts[0] == RESUME_FOLDER:
                    continue
                if path.name != CATALOG_FILE:
                    packed.write(path, f"{job.name}/{inside.as_posix()}")
        shutil.move(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target
