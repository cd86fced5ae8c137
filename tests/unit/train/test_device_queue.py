from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from attnviz.train import device_queue

HOLD = """
import sys, time
from pathlib import Path
from attnviz.train import device_queue
with device_queue.ticket(Path(sys.argv[1]), "cpu", sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_jobs_run_in_the_order_of_joining(tmp_path: Path) -> None:
    with device_queue.ticket(tmp_path, "cpu", "a"), device_queue.ticket(tmp_path, "cpu", "b"):
        assert device_queue.jobs_ahead(tmp_path, "cpu", "a") == 0
        assert device_queue.jobs_ahead(tmp_path, "cpu", "b") == 1
        assert device_queue.jobs_ahead(tmp_path, "cpu", "c") is None
        with device_queue.ticket(tmp_path, "cuda:0", "c"):
            assert (
                device_queue.jobs_ahead(tmp_path, "cuda:0", "c") == 0
            )  # another device, another queue
    assert device_queue.jobs_ahead(tmp_path, "cpu", "b") is None


def test_a_killed_process_leaves_the_queue(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "first"], stdout=subprocess.PIPE
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with device_queue.ticket(tmp_path, "cpu", "second"):
            assert device_queue.jobs_ahead(tmp_path, "cpu", "second") == 1
            first.kill()
            first.wait()
            end = time.monotonic() + 10
            while device_queue.jobs_ahead(tmp_path, "cpu", "second") and time.monotonic() < end:
                time.sleep(0.05)
            assert device_queue.jobs_ahead(tmp_path, "cpu", "second") == 0
    finally:
        first.kill()
        first.wait()
        first.stdout.close()  # type: ignore[union-attr]
