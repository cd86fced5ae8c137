"""Training: the cost of snapshots, and how fast and how well the tasks are learned.

``python -m benchmarks training`` compares the throughput of one training with its snapshots and
without, alternately. ``python -m benchmarks.training [task ...]`` trains every task at its defaults
(some ten minutes), prints the table of docs/training.md, and fails if a task misses its goal or
takes too long.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from attnviz.train import jobs
from attnviz.train.events import of_kind
from attnviz.train.job import Job
from attnviz.train.run_job import prepare
from attnviz.train.settings import JobSettings
from attnviz.train.tasks import TASKS, find
from attnviz.train.tasks.task import settings_for
from attnviz.train.trainer import JobTrainer
from benchmarks.figure import Figure

TITLE = "Training"
STEPS, ROUNDS = 400, 3
MAX_SECONDS = {"": 120, "modular": 300}  # of a task on two cores; addition generalizes late
MAX_COST = 0.05  # of the throughput, for snapshots


def measure() -> list[Figure]:
    """The cost of snapshots, at as many a step as the task's defaults have."""
    task = find("induction")
    count = max(1, task.schedule.snapshots * STEPS // task.schedule.steps)
    schedule = replace(task.schedule, steps=STEPS, evaluations=0, checkpoints=1)
    with_snapshots = settings_for(task, schedule=replace(schedule, snapshots=count))
    without = settings_for(task, schedule=replace(schedule, snapshots=0))
    rates: dict[str, list[float]] = {"with": [], "without": []}
    _rate(without)  # warm-up
    for _ in range(ROUNDS):
        rates["with"].append(_rate(with_snapshots))
        rates["without"].append(_rate(without))
    fastest = max(rates["without"])
    cost = 1 - max(rates["with"]) / fastest
    return [
        Figure(
            f"watching a training: {count} snapshots in {STEPS} steps",
            f"at most {MAX_COST:.0%} of the tokens a second",
            f"{cost:.1%} of {fastest:,.0f} tokens/s",
            cost <= MAX_COST,
        )
    ]


def _rate(settings: JobSettings) -> float:
    """Tokens a second of the whole loop, snapshots included."""
    with tempfile.TemporaryDirectory() as folder:
        setup = prepare(settings, Path(folder))
        trainer = JobTrainer(Path(folder), settings, setup)
        tokens = 0
        count_tokens = trainer.job_callback.count_tokens

        def count(n: int) -> None:
            nonlocal tokens
            tokens += n
            count_tokens(n)

        trainer.job_callback.count_tokens = count  # type: ignore[method-assign]
        start = time.perf_counter()
        trainer.train()
        return tokens / (time.perf_counter() - start)


def table(names: Sequence[str], missed: list[str]) -> Iterator[str]:
    """The table's lines, one for each task, trained in a process of its own.

    Args:
        missed: a sentence is appended for each task that misses its goal or takes too long.
    """
    yield "| Task | Steps | Seconds | Tokens right | Whole answers right |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name in names:
        job = jobs.submit(settings_for(find(name)))
        while job.status.is_active:
            time.sleep(0.2)
        task, seconds, last = find(name), _seconds(job), of_kind(job.events(), "evaluation")[-1]
        if task.goal is not None and last[task.measure] < task.goal:
            missed.append(
                f"{name}: {last[task.measure]:.2%} right, and the goal is {task.goal:.0%}"
            )
        if seconds > MAX_SECONDS.get(name, MAX_SECONDS[""]):
            missed.append(f"{name}: {seconds:.0f} s")
        yield (
            f"| {task.title} | {job.status.steps:,} | {seconds:.0f} "
            f"| {last['accuracy']:.2%} | {last['exact']:.2%} |"
        )


def _seconds(job: Job) -> float:
    """From the time the device is free to the end, without the start of Python."""
    states = {e["state"]: e["time"] for e in of_kind(job.events(), "state")}
    if "finished" not in states:
        raise SystemExit(f"{job.name}: {job.status.sentence}")
    return float(states["finished"] - states["running"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["ATTNVIZ_JOBS"] = temporary
        misses: list[str] = []
        for line in table(sys.argv[1:] or list(TASKS), misses):
            print(line, flush=True)
    print(f"\nLoad of the last quarter of an hour: {os.getloadavg()[2]:.1f}")
    sys.exit("\n".join(misses) or 0)
