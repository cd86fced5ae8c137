from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from attnviz.train.process_file import is_process_alive, process_file

CHECK = """
import sys
from pathlib import Path
from attnviz.train.process_file import is_process_alive
print(sum(is_process_alive(Path(sys.argv[1])) for _ in range(2000)))
"""


def checked(path: Path, processes: int = 3, threads: int = 4) -> list[int]:
    """How often each of several threads and processes saw it alive, in 2,000 checks each."""
    others = [
        subprocess.Popen(
            [sys.executable, "-c", CHECK, str(path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    with ThreadPoolExecutor(threads) as pool:
        checks = pool.map(
            lambda _: sum(is_process_alive(path) for _ in range(2000)), range(threads)
        )
        here = list(checks)
    return here + [int(other.communicate(timeout=120)[0]) for other in others]


def test_however_many_check_a_dead_process_is_dead_and_a_living_one_lives(tmp_path: Path) -> None:
    path = tmp_path / "alive.json"
    dead = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    content = {"pid": dead.pid, "started": psutil.Process(dead.pid).create_time()}
    path.write_text(json.dumps(content))
    assert set(checked(path)) == {2000}
    dead.kill()
    if hasattr(os, "waitid"):  # it has ended, and its parent has not been notified yet
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert not is_process_alive(path)
    dead.communicate()
    assert set(checked(path)) == {0}


def test_a_process_that_got_a_dead_ones_number_is_another(tmp_path: Path) -> None:
    path = tmp_path / "alive.json"
    with process_file(path):
        assert is_process_alive(path)
        started = psutil.Process().create_time() - 60
        path.write_text(json.dumps({"pid": os.getpid(), "started": started}))
        assert not is_process_alive(path)
    assert not path.exists()
