"""``python -m attnviz.train FOLDER/job.json`` waits until the device is free, then trains.

``accelerate launch -m attnviz.train FOLDER/job.json`` does the same on several devices: the process
of rank 0 waits in the queue and writes the folder, the others follow it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from attnviz.errors import AttnVizError
from attnviz.train import device_queue, events
from attnviz.train.job import LOCK_FILE, PROCESS_FILE, REQUEST_FILE, Job, pending_request
from attnviz.train.process_file import process_file

POLL_SECONDS = 0.3
LOCK_SECONDS = 10.0  # a process that is ending may still be writing a checkpoint


def main(arguments: list[str]) -> int:
    """Runs one job; returns 0 if it finished, was paused or was canceled."""
    if len(arguments) != 1:
        print("usage: python -m attnviz.train FOLDER/job.json", file=sys.stderr)
        return 2
    job = Job(Path(arguments[0]).resolve().parent)
    try:
        device = job.settings.device
    except AttnVizError as error:
        print(error, file=sys.stderr)
        return 2
    if int(os.environ.get("RANK", "0")) > 0:
        return _follow_rank_0(job)
    try:
        with (
            FileLock(job.folder / LOCK_FILE, timeout=LOCK_SECONDS),
            process_file(job.folder / PROCESS_FILE),
            device_queue.ticket(job.folder.parent, device, job.name),
        ):
            return _run(job) if _wait_for_device(job, device) else 0
    except Timeout:
        print("Another process is already running this job.", file=sys.stderr)
        return 1


def _wait_for_device(job: Job, device: str) -> bool:
    """Waits in the device's queue; False if the job was paused or canceled meanwhile."""
    while device_queue.jobs_ahead(job.folder.parent, device, job.name):
        if request := pending_request(job.folder):
            state = "cancelled" if request == "cancel" else "paused"
            (job.folder / REQUEST_FILE).unlink(missing_ok=True)
            events.append(job.folder, "state", job.status.step, state=state, sentence="")
            return False
        time.sleep(POLL_SECONDS)
    return True


def _follow_rank_0(job: Job) -> int:
    """Runs the job once the process of rank 0 has started it."""
    while (state := job.status.state) == "queued":
        time.sleep(POLL_SECONDS)
    return _run(job) if state == "running" else 0


def _run(job: Job) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the app: the cores are shared
    from attnviz.train.run_job import run  # loads torch, so only once the device is free

    return run(job)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
