"""Runs the benchmarks one after the other: ``python -m benchmarks [name ...]``."""

from __future__ import annotations

import importlib
import sys

from benchmarks.figure import show

NAMES = (
    "trace",
    "grid",
    "contention",
    "canvas",
    "home",
    "trace_page",
    "lab_rerun",
    "rerun_bytes",
    "head_click",
    "training",
    "memory_walk",
)

for name in sys.argv[1:] or NAMES:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    show(benchmark.TITLE, benchmark.measure)
