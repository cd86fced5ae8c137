"""A measured figure and its goal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of a benchmark's table.

    Attributes:
        what: what was measured. goal: what it should be. measured: what it was.
        holds: whether the goal was reached; None where there is only something to report.
    """

    what: str
    goal: str
    measured: str
    holds: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "yes", False: "**no**", None: ""}[self.holds]
        return f"| {self.what} | {self.goal} | {self.measured} | {verdict} |"


def in_child(module: str, *arguments: str, **environment: str) -> dict[str, float]:
    """Runs ``python -m module arguments`` and reads the JSON on its last line.

    Memory is measured this way: a process's peak cannot be taken back.
    """
    out = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ).stdout
    answer: dict[str, float] = json.loads(out.strip().splitlines()[-1])
    return answer


def show(title: str, measure: Callable[[], list[Figure]]) -> None:
    """Prints one benchmark's table."""
    print(f"\n### {title}\n\n| figure | goal | measured | holds |\n|---|---|---|---|", flush=True)
    for figure in measure():
        print(figure, flush=True)
