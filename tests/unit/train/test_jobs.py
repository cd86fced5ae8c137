"""Jobs as they are: real processes, killed, paused, resumed, queued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

import attnviz
from attnviz.errors import AttnVizError
from attnviz.train import jobs, snapshots
from attnviz.train.job import Job
from attnviz.train.run_job import RESERVE_FILE, run
from attnviz.train.settings import JobSettings, Limits
from tests.unit.train.conftest import curve, wait

Tiny = Callable[..., JobSettings]
ROOT = Path(__file__).parents[3]


def run_here(settings: JobSettings) -> Job:
    """A job that was run in this process, which saves the time torch takes to start."""
    job = jobs.create(settings)
    run(job)
    return job


def worker(job: Job) -> psutil.Process:
    """The process that works on a job."""
    wanted = str(job.folder / "job.json")
    for process in psutil.process_iter(["cmdline"]):
        if wanted in (process.info["cmdline"] or []):
            return process
    raise AssertionError("no process works on the job")


def test_a_job_leaves_a_complete_folder(tiny: Tiny) -> None:
    job = run_here(tiny("dates", steps=8))
    status = job.status
    assert (status.state, status.step, status.steps) == ("finished", 8, 8)
    assert list(curve(job)) == list(range(1, 9))
    kinds = {e["event"] for e in job.events()}
    assert kinds == {"state", "step", "evaluation", "probe", "snapshot", "checkpoint"}
    assert not (job.folder / RESERVE_FILE).exists()
    step = next(e for e in job.events() if e["event"] == "step")
    assert step["tokens_per_second"] > 0
    assert step["memory"] > 2**20
    assert [snapshots.step_of(path) for path in job.snapshots()] == [0, 4, 8]
    last = snapshots.read(job.snapshots()[-1])
    assert {layer.kind for layer in last.trace.layers} == {"encoder", "decoder", "cross"}
    assert job.model is not None
    model = attnviz.load(str(job.model))
    assert model.module.config.use_cache
    live = model.trace("5 March 2024", target="2024-03-05")
    for layer in live.layers:
        a, b = live.attention(layer.index, 1), last.trace.attention(layer.index, 1)
        assert torch.allclose(a.weights(), b.weights(), atol=1e-6)
    files = [path.suffix for path in job.folder.rglob("*") if path.is_file()]
    assert not {".bin", ".pt", ".pth", ".pkl"} & set(files)


def test_killed_and_resumed_is_the_same_training(tiny: Tiny) -> None:
    settings = tiny(
        "copy", steps=60, checkpoints=6, model={"dropout": 0.2}, batch_size=16, snapshots=6
    )
    whole = run_here(settings)
    job = jobs.submit(settings)
    wait(job, lambda status: status.step >= 25)
    os.kill(worker(job).pid, signal.SIGKILL)
    status = wait(job, lambda status: not status.is_active)
    assert status.state == "interrupted"
    assert "Resume goes on" in status.sentence
    assert job.checkpoint is not None
    run_on(job)
    assert job.status.state == "finished"
    assert curve(job).keys() == curve(whole).keys()
    # the same numbers on the same machine; threads may add them up in another order
    assert curve(job) == pytest.approx(curve(whole), abs=1e-5)
    assert len(job.snapshots()) == len(whole.snapshots())
    first, second = (attnviz.load(str(j.model)).module.state_dict() for j in (whole, job))
    for name, value in first.items():
        assert torch.allclose(value, second[name], atol=1e-5)


def run_on(job: Job) -> None:
    """Resumes in this process."""
    assert job.status.can_resume
    assert run(job) == 0


def limited(job: Job, resource: str, n_bytes: str) -> subprocess.CompletedProcess[str]:
    """Runs a job in a process that the system gives less of something, as `setrlimit` takes it."""
    program = f"""
import resource, sys, psutil
import attnviz.train.run_job
from attnviz.train.__main__ import main
most = int({n_bytes})
resource.setrlimit(resource.{resource}, (most, most))
sys.exit(main(sys.argv[1:]))
"""
    return subprocess.run(
        [sys.executable, "-B", "-c", program, str(job.folder / "job.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tiny: Tiny) -> None:
    settings = tiny("copy", steps=8, checkpoints=4, model={"d_model": 64})
    whole = run_here(settings)
    job = run_here(replace(settings, limits=Limits(minutes=0.0)))
    assert job.status.state == "stopped"
    before = job.checkpoint
    assert before is not None
    weights = before / "model.safetensors"
    assert weights.stat().st_size > 100_000  # more than the process may write into one file
    (job.folder / "job.json").write_text(replace(settings, limits=Limits(None, None)).to_json())

    # A write that the system refuses half-way, as on a full disk; any user may ask for this one.
    done = limited(job, "RLIMIT_FSIZE", "100_000")
    assert done.returncode == 1, done.stderr[-3000:]
    status = job.status
    assert status.state == "failed"
    assert status.sentence.startswith("The disk is full. Free some space and resume")
    assert status.step >= 2
    assert job.checkpoint == before
    assert [path.name for path in (job.folder / "checkpoint").iterdir()] == [before.name]
    assert attnviz.load(str(before)).generate("ab>", max_new_tokens=1).text

    run_on(job)
    assert job.status.state == "finished"
    assert curve(job) == pytest.approx(curve(whole), abs=1e-5)


def test_out_of_memory_ends_it_with_a_sentence(tiny: Tiny) -> None:
    # a step of these takes tens of gigabytes, and the process is let have two more than it has
    wide = {"d_model": 256, "n_layers": 4}
    job = jobs.create(tiny("copy", steps=2, batch_size=20_000, model=wide))
    done = limited(job, "RLIMIT_AS", "psutil.Process().memory_info().vms + 2 * 2**30")
    assert done.returncode == 1, done.stderr[-3000:]
    assert job.status.state == "failed"
    assert "not enough memory" in job.status.sentence
    assert "smaller batches" in job.status.sentence


def test_it_outlives_the_program_that_started_it(tiny: Tiny, jobs_folder: Path) -> None:
    program = """
import os, sys
from attnviz.train import jobs
from attnviz.train.settings import JobSettings
jobs.submit(JobSettings.from_json(sys.stdin.read()))
os.kill(os.getpid(), 9)
"""
    settings = tiny("copy", steps=50_000, checkpoints=2, evaluations=1).to_json()
    subprocess.run(
        [sys.executable, "-c", program], input=settings, text=True, cwd=ROOT, check=False
    )
    (job,) = jobs.all()  # what another program, or the app after a restart, finds
    try:
        at = wait(job, lambda status: status.step > 0).step
        wait(job, lambda status: status.step > at)
        job.pause()
        assert wait(job, lambda status: not status.is_active).state == "paused"
        assert job.checkpoint is not None
    finally:
        if job.is_alive:
            worker(job).kill()


def test_two_jobs_queue_and_the_first_can_be_cancelled(tiny: Tiny) -> None:
    settings = tiny("sort", steps=50_000, checkpoints=5, evaluations=1)
    first, second = jobs.submit(settings), None
    try:
        wait(first, lambda status: status.step > 0)
        second = jobs.submit(tiny("sort", steps=4))
        assert wait(second, lambda status: status.jobs_ahead == 1).state == "queued"
        assert {job.name for job in jobs.all()} == {first.name, second.name}
        with pytest.raises(AttnVizError, match="is running"):
            jobs.delete(first)
        first.cancel()
        assert wait(first, lambda status: not status.is_active).state == "cancelled"
        assert first.model is not None
        assert attnviz.load(str(first.model)).generate("ba>", max_new_tokens=1).text
        assert wait(second, lambda status: not status.is_active).state == "finished"
        with pytest.raises(AttnVizError, match="finished"):
            second.cancel()
    finally:
        for job in (first, second):
            if job is not None and job.is_alive:
                worker(job).kill()
    jobs.delete(first)
    assert [job.name for job in jobs.all()] == [second.name]
    with pytest.raises(AttnVizError, match="no job"):
        jobs.find(first.name)


def test_paused_frees_the_device_and_goes_on(tiny: Tiny) -> None:
    settings = tiny("reverse", steps=150, checkpoints=1, evaluations=1)
    job = jobs.submit(settings)
    wait(job, lambda status: status.step >= 3)
    job.pause()
    paused = wait(job, lambda status: not status.is_active)
    assert paused.state == "paused"
    assert 3 <= paused.step < 150
    wait(job, lambda _: not job.is_alive)
    job.resume()
    assert wait(job, lambda status: not status.is_active).state == "finished"
    whole = run_here(settings)
    assert curve(job) == pytest.approx(curve(whole), abs=1e-5)


def test_a_queued_job_can_be_paused(tiny: Tiny, jobs_folder: Path) -> None:
    from attnviz.train import device_queue

    with device_queue.ticket(jobs_folder, "cpu", "other"):
        job = jobs.submit(tiny(steps=4))
        wait(job, lambda status: status.jobs_ahead == 1)
        job.pause()
        assert wait(job, lambda status: not status.is_active).state == "paused"
        assert job.checkpoint is None


def test_limits_stop_it_and_higher_ones_let_it_go_on(tiny: Tiny) -> None:
    settings = replace(tiny(steps=20), limits=Limits(minutes=0.0))
    job = run_here(settings)
    status = job.status
    assert status.state == "stopped"
    assert "time limit of 0 minutes was reached at step 1" in status.sentence
    assert status.step == 1
    full = run_here(replace(settings, limits=Limits(disk_mb=0.01)))
    assert "and its limit is 0" in full.status.sentence
    assert full.model is not None


def test_no_number_ends_it_with_a_sentence_and_the_last_good_weights(tiny: Tiny) -> None:
    wild = {"norm": "none", "n_layers": 12}  # numbers grow with each layer
    job = run_here(
        tiny(
            steps=60,
            checkpoints=60,
            learning_rate=10.0,
            max_grad_norm=1e6,
            model=wild,
            decay="constant",
        )
    )
    status = job.status
    assert status.state == "failed"
    assert "no longer a number at step" in status.sentence
    assert "learning rate below 10" in status.sentence
    assert job.model is not None
    weights = attnviz.load(str(job.model)).module.parameters()
    assert all(bool(torch.isfinite(p).all()) for p in weights)


def test_invalid_settings_are_reported(tiny: Tiny) -> None:
    job = run_here(tiny(model={"n_heads": 3}))
    assert job.status.state == "failed"
    assert "heads do not divide" in job.status.sentence


def test_two_processes_of_accelerate_train_one_model(tiny: Tiny) -> None:
    settings = tiny("copy", steps=6, checkpoints=2)
    job = jobs.create(settings)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["-m", "attnviz.train", str(job.folder / "job.json")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert job.status.state == "finished"
    assert list(curve(job)) == list(range(1, 7))
    assert job.model is not None
    # the two halves of a batch of 16 are what one process sees in a batch of 16
    alone = run_here(replace(settings, schedule=replace(settings.schedule, batch_size=16)))
    assert curve(job)[1] == pytest.approx(curve(alone)[1], abs=0.2)
    attnviz.load(str(job.model))
