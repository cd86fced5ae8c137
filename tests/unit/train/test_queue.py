from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from attnviz.train import queue

HOLD = """
import sys, time
from pathlib import Path
from attnviz.train import queue
with queue.ticket(Path(sys.argv[1]), "cpu", sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_places_are_in_the_order_of_drawing(tmp_path: Path) -> None:
    with queue.ticket(tmp_path, "cpu", "a"), queue.ticket(tmp_path, "cpu", "b"):
        assert queue.ahead(tmp_path, "cpu", "a") == 0
        assert queue.ahead(tmp_path, "cpu", "b") == 1
        assert queue.ahead(tmp_path, "cpu", "c") is None
        with queue.ticket(tmp_path, "cuda:0", "c"):
            assert queue.ahead(tmp_path, "cuda:0", "c") == 0  # another device, another line
    assert queue.ahead(tmp_path, "cpu", "b") is None


def test_a_killed_process_leaves_the_line(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "first"], stdout=subprocess.PIPE
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with queue.ticket(tmp_path, "cpu", "second"):
            assert queue.ahead(tmp_path, "cpu", "second") == 1
            first.kill()
            first.wait()
            end = time.monotonic() + 10
            while queue.ahead(tmp_path, "cpu", "second") and time.monotonic() < end:
                time.sleep(0.05)
            assert queue.ahead(tmp_path, "cpu", "second") == 0
    finally:
        first.kill()
        first.wait()
        first.stdout.close()  # type: ignore[union-attr]
