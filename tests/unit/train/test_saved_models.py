"""Models saved from trainings: listed, and removed without touching any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from attnviz.errors import AttnVizError
from attnviz.models import catalog
from attnviz.train import jobs
from attnviz.train.job import Job
from attnviz.train.model_export import add_to_catalog, remove_from_catalog, saved_models
from attnviz.train.run_job import run
from attnviz.train.settings import JobSettings


@pytest.fixture
def job(tiny: Callable[..., JobSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A finished job, over an empty folder of models."""
    monkeypatch.setenv("ATTNVIZ_MODELS", str(tmp_path / "models"))
    made = jobs.create(tiny(steps=2))
    assert run(made) == 0
    return made


def test_a_saved_model_is_listed_and_can_be_removed(job: Job) -> None:
    shipped = [entry.name for entry in catalog.entries()]
    first, second = add_to_catalog(job, "first"), add_to_catalog(job, "second")
    assert saved_models() == ("first", "second")
    remove_from_catalog("first")
    assert saved_models() == ("second",)
    assert not first.exists()
    assert second.is_dir()
    assert job.model is not None  # the job keeps its own
    remove_from_catalog("second")
    assert [entry.name for entry in catalog.entries()] == shipped


@pytest.mark.parametrize("name", ["tiny-digits", "../jobs", "", "missing"])
def test_nothing_else_can_be_removed(job: Job, name: str) -> None:
    add_to_catalog(job, "mine")
    with pytest.raises(AttnVizError, match="no saved model"):
        remove_from_catalog(name)
    assert saved_models() == ("mine",)
    assert job.folder.is_dir()


def test_of_a_link_only_the_link_is_removed(job: Job) -> None:
    kept = add_to_catalog(job, "kept")
    elsewhere = kept.parent.parent / "elsewhere"
    kept.rename(elsewhere)
    kept.symlink_to(elsewhere)
    assert saved_models() == ("kept",)
    remove_from_catalog("kept")
    assert saved_models() == ()
    assert (elsewhere / "config.json").is_file()
