"""A program of ours in a process with limits, for reading files that may be hostile.

What a library in Rust or C does with a hostile file may end the process or never end at all. In a
child that is a sentence; here it would be everybody's server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from attnviz.errors import AttnVizError
from attnviz.models import limits

POLL_SECONDS = 0.1
SPARE_MEMORY = 2 * limits.GIB  # the watch from outside is for where the child cannot limit itself


def run(
    module: str, arguments: list[str], *, subject: str, memory: int, seconds: int, log: Path
) -> None:
    """Run ``python -m module arguments memory seconds`` to its end.

    The module calls `limit_this_process` with the last two.

    Args:
        subject: the file that is read, for sentences.
        memory: bytes it may take. seconds: how long it may take.
        log: where its output goes; the last line is what a failure is explained with.

    Raises:
        AttnVizError: it failed, was ended by a signal, or went past its limits.
    """
    here = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONIOENCODING": "utf-8",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "RUST_BACKTRACE": "0",
        "MALLOC_ARENA_MAX": "2",  # else each thread reserves address space, which is limited here
    }
    command = [sys.executable, "-m", module, *arguments, str(memory), str(seconds)]
    deadline = time.monotonic() + seconds
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            while True:
                try:
                    child.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    pass
                if time.monotonic() > deadline:
                    raise _over_limits(subject, f"more than {seconds:,} seconds")
                if _resident(child.pid) > memory + SPARE_MEMORY:
                    raise _over_limits(
                        subject, f"more than {limits.format_bytes(memory)} of memory"
                    )
        finally:
            child.kill()
            child.wait()
    if child.returncode == 0:
        return
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1].strip()[:300] if lines else "the reader ended without a word"
    if child.returncode < 0:
        reason = f"the reader was ended by signal {-child.returncode}"
    raise AttnVizError(
        f"{subject} could not be read: {reason.rstrip('.')}.",
        "Download it again, or choose another model.",
    )


def limit_this_process(memory: int, seconds: int) -> None:
    """Let the operating system enforce the limits too, where it can (not on Windows).

    Args:
        memory: bytes beyond what the process has now, its libraries. seconds: of processor time.
    """
    try:
        import resource
    except ImportError:
        return
    address_space = int(psutil.Process().memory_info().vms) + memory
    for kind, most in ((resource.RLIMIT_AS, address_space), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(kind)[1]
        try:
            resource.setrlimit(
                kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
            )
        except (ValueError, OSError):  # macOS takes no limit on the address space
            continue


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def _over_limits(subject: str, what: str) -> AttnVizError:
    return AttnVizError(
        f"Reading {subject} was stopped: it took {what}.",
        "It may be damaged: download it again, or choose another model.",
    )
