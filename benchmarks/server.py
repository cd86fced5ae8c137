"""A Streamlit server of its own for as long as a measurement or a test needs one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECONDS_TO_START = 120  # torch and transformers are imported on a cold disk
SECONDS_TO_STOP = 20


@contextmanager
def serve(
    script: str | Path,
    *options: str,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address of ``streamlit run script``, on a free port of this machine.

        with serve("app.py") as address:
            page.goto(address)

    Args:
        script: a path, or one relative to ``folder``. options: more of Streamlit's, the last of a
            kind counts. folder: where the server runs, with its ``.streamlit``. environment:
            variables beside this process's own.

    Raises:
        RuntimeError: it did not start; its log is in the message.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(script)]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    command += ["--server.headless", "true", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            if not _up(f"{address}/_stcore/health", process):
                log.seek(0)
                raise RuntimeError(f"The server did not start:\n{log.read()}")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _up(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers before it ends or the time is over."""
    end = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return True
        except OSError:
            time.sleep(0.2)
    return False
