"""Running one of our modules in a process with limits, to read files that may be hostile.

A hostile file may crash a library written in Rust or C, or keep it busy forever. In a child process
that becomes an error message; in this one it would take down the app for everyone.
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
# Beyond the child's own limit; the check from outside is for systems where it cannot limit itself.
SPARE_MEMORY = 2 * limits.GIB


def run(
    module: str, arguments: list[str], *, subject: str, memory: int, seconds: int, log: Path
) -> None:
    """Run ``python -m module arguments memory seconds`` and wait until it ends.

    The module must call `limit_this_process` with the last two.

    Args:
        module: the module to run. arguments: its first arguments.
        subject: the name of the file that it reads, for messages.
        memory: bytes it may allocate. seconds: how long it may run.
        log: the file for its output; the last line becomes the reason of a failure.

    Raises:
        AttnVizError: it failed, was ended by a signal, or exceeded its limits.
    """
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONIOENCODING": "utf-8",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "RUST_BACKTRACE": "0",
        "MALLOC_ARENA_MAX": "2",  # or each thread reserves address space, which is limited
    }
    command = [sys.executable, "-m", module, *arguments, str(memory), str(seconds)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            _wait(child, subject, memory, seconds)
        finally:
            child.kill()
            child.wait()
    if child.returncode != 0:
        raise _failure(subject, child.returncode, log)


def limit_this_process(memory: int, seconds: int) -> None:
    """Have the operating system limit this process, where it can (not on Windows).

    Args:
        memory: bytes beyond those in use now, by libraries.
        seconds: of processor time.
    """
    try:
        import resource
    except ImportError:
        return
    address_space = int(psutil.Process().memory_info().vms) + memory
    for kind, limit in ((resource.RLIMIT_AS, address_space), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(kind)[1]
        try:
            resource.setrlimit(
                kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
            )
        except (ValueError, OSError):  # macOS has no limit on the address space
            continue


def _wait(child: subprocess.Popen[bytes], subject: str, memory: int, seconds: int) -> None:
    """Wait until ``child`` ends; raises `AttnVizError` if it exceeds its limits."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            child.wait(POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > deadline:
            raise _over_limits(subject, f"more than {seconds:,} seconds")
        if _resident(child.pid) > memory + SPARE_MEMORY:
            raise _over_limits(subject, f"more than {limits.format_bytes(memory)} of memory")


def _resident(pid: int) -> int:
    """Bytes of main memory that a process takes; 0 once it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _failure(subject: str, returncode: int, log: Path) -> AttnVizError:
    """The last line of the log, or the signal that ended the process."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1].strip()[:300] if lines else "the reader exited unexpectedly"
    if returncode < 0:
        reason = f"the reader was killed by signal {-returncode}"
    return AttnVizError(
        f"{subject} could not be read: {reason.rstrip('.')}.",
        "Download it again, or choose another model.",
    )


def _over_limits(subject: str, amount: str) -> AttnVizError:
    return AttnVizError(
        f"Reading {subject} was stopped: it took {amount}.",
        "It may be damaged: download it again, or choose another model.",
    )
