"""The same work alone and beside a busy neighbor: what others on the machine cost.

    python -m benchmarks.contention

A process of its own measures both, turn by turn, so that a ratio is of one run. The neighbor is a
Python loop, one for every two cores. It is done with OpenMP's threads sleeping while they wait, as
in the app, and spinning, as OpenMP comes (300,000 turns): docs/decisions says what was chosen.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.figure import Figure, in_child, show

TITLE = "Beside a busy neighbor"
WAITING = {
    "": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"},
    ", threads spinning": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "300000"},
}
MOST = 2.0
ROUNDS = 7
BUSY = "print('busy', flush=True)\nwhile True: pass"


def measure() -> list[Figure]:
    """Beside a neighbor : alone, for an overview and for a trace."""
    figures = []
    for how, environment in WAITING.items():
        got = in_child("benchmarks.contention", "child", **environment)
        for what in ("one head's overview at 16,384 tokens", "trace at 1,024 tokens"):
            alone, beside = got[what], got[f"{what}, beside"]
            ratio = beside / alone
            figures.append(
                Figure(
                    f"{what}, beside a neighbor : alone{how}",
                    "" if how else f"<= {MOST:.0f} x",
                    f"{ratio:.2f} x ({beside:.2f} : {alone:.2f} s)",
                    None if how else ratio <= MOST,
                )
            )
    return figures


@contextmanager
def neighbor() -> Iterator[None]:
    """Somebody else's work, on half of the cores."""
    busy = [
        subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
        for _ in range(max(1, (os.cpu_count() or 1) // 2))
    ]
    try:
        for process in busy:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in busy:
            process.kill()
            process.communicate()


def _child() -> dict[str, float]:
    """Median seconds of each, alone and beside."""
    from benchmarks.trace import long_overview, traced

    runs: dict[str, Callable[[], object]] = {
        "one head's overview at 16,384 tokens": long_overview(16_384),
        "trace at 1,024 tokens": traced(1024),
    }
    taken: dict[str, list[float]] = {}
    for run in runs.values():
        run()
    for _ in range(ROUNDS):
        _time(runs, "", taken)
        with neighbor():
            _time(runs, ", beside", taken)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _time(runs: dict[str, Callable[[], object]], where: str, taken: dict[str, list[float]]) -> None:
    for name, run in runs.items():
        start = time.perf_counter()
        run()
        taken.setdefault(name + where, []).append(time.perf_counter() - start)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(_child()))
    else:
        show(TITLE, measure)
