"""A damaged job affects no other: its problem is reported, and it can be deleted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from attnviz.errors import AttnVizError
from attnviz.train import jobs, snapshots
from attnviz.train.job import Job
from tests.unit.train.damaged import DAMAGES, sound


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_job_is_reported_and_deleted(damage: str, jobs_folder: Path) -> None:
    other = Job(sound(jobs_folder / "20200101-000000-sound"))
    folder = sound(jobs_folder / "20200102-000000-damaged")
    DAMAGES[damage](folder)
    start = time.process_time()
    job, listed = jobs.all()
    assert (job.folder, listed.folder) == (folder, other.folder)
    for read in (
        lambda: job.status,
        lambda: job.settings.title,
        lambda: job.model,
        lambda: [snapshots.read(path).trace.layers for path in job.snapshots()],
        lambda: job.cancel(),
    ):
        try:
            read()
        except AttnVizError as error:
            assert len(str(error)) < 500
            assert "\n" not in str(error)
    assert not job.is_alive
    assert other.status.state == "cancelled"
    jobs.delete(job)
    assert not folder.exists()
    assert [found.name for found in jobs.all()] == [other.name]
    assert time.process_time() - start < 1


def test_deleting_a_link_leaves_its_target(jobs_folder: Path, tmp_path: Path) -> None:
    target = sound(tmp_path / "target")
    jobs_folder.mkdir()
    (jobs_folder / "linked").symlink_to(target)
    (jobs_folder / "loop").symlink_to(jobs_folder / "loop")
    (job,) = jobs.all()
    jobs.delete(job)
    assert (target / "job.json").is_file()
    assert jobs.all() == ()


def test_a_jobs_folder_that_is_a_file_is_reported(jobs_folder: Path) -> None:
    jobs_folder.write_text("x")
    with pytest.raises(AttnVizError, match=r"jobs folder .* cannot be read"):
        jobs.all()
