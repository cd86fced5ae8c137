from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

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


LOOK = """
import sys
from pathlib import Path
from attnviz.train import queue
print(sum(queue.is_held(Path(sys.argv[1])) for _ in range(2000)))
"""


def looked(path: Path, processes: int = 3, threads: int = 4) -> list[int]:
    """How often it was seen held, by each thread and process of some that look 2,000 times."""
    others = [
        subprocess.Popen([sys.executable, "-c", LOOK, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    with ThreadPoolExecutor(threads) as pool:
        looks = pool.map(lambda _: sum(queue.is_held(path) for _ in range(2000)), range(threads))
        here = list(looks)
    return here + [int(other.communicate(timeout=120)[0]) for other in others]


def test_however_many_look_a_dead_process_is_dead_and_a_living_one_lives(tmp_path: Path) -> None:
    path = tmp_path / "alive.json"
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    sign = {"pid": dead.pid, "started": psutil.Process(dead.pid).create_time()}
    path.write_text(json.dumps(sign))
    assert set(looked(path)) == {2000}
    dead.kill()
    if hasattr(os, "waitid"):  # it has ended, and nobody has taken note of it yet
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert not queue.is_held(path)
    dead.communicate()
    assert set(looked(path)) == {0}


def test_a_process_that_got_a_dead_ones_number_is_another(tmp_path: Path) -> None:
    path = tmp_path / "alive.json"
    with queue.signed(path):
        assert queue.is_held(path)
        started = psutil.Process().create_time() - 60
        path.write_text(json.dumps({"pid": os.getpid(), "started": started}))
        assert not queue.is_held(path)
    assert not path.exists()
