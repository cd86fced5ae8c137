"""``python -m attnviz.train FOLDER/job.json``: waits for the device, then trains.

``accelerate launch -m attnviz.train FOLDER/job.json`` runs the same on several devices: the first
process stands in line and writes the folder, the others follow it.
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

LOOK_SECONDS = 0.3  # between two looks at the line
LOCK_SECONDS = 10.0  # one that was told to end may still be writing


def main(arguments: list[str]) -> int:
    """Runs one job; 0 when it ended as it should, paused and cancelled included."""
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
        return _follow(job)
    try:
        with (
            FileLock(job.folder / LOCK_FILE, timeout=LOCK_SECONDS),
            process_file(job.folder / PROCESS_FILE),
            device_queue.ticket(job.folder.parent, device, job.name),
        ):
            return _run(job) if _my_turn(job, device) else 0
    except Timeout:
        print("Another process works on this job.", file=sys.stderr)
        return 1


def _my_turn(job: Job, device: str) -> bool:
    """Waits in line; False if somebody took the job out of it."""
    while device_queue.jobs_ahead(job.folder.parent, device, job.name):
        if request := pending_request(job.folder):
            state = "cancelled" if request == "cancel" else "paused"
            (job.folder / REQUEST_FILE).unlink(missing_ok=True)
            events.append(job.folder, "state", job.status.step, state=state, sentence="")
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _follow(job: Job) -> int:
    """Another process of the same job: waits until the first one's turn has come."""
    while (state := job.status.state) == "queued":
        time.sleep(LOOK_SECONDS)
    return _run(job) if state == "running" else 0


def _run(job: Job) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the app: other people compute too
    from attnviz.train.run_job import run  # torch: only once the device is free

    return run(job)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
