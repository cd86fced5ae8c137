"""Finding a Chromium, or getting one: ``python -m tests.browser.chromium``.

A system one is taken first, then Playwright's own download, then, as root on Debian, apt's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def find() -> str | None:
    """The path of a Chromium that is installed, or None."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def launch_arguments() -> list[str]:
    """Chromium's sandbox can't start for root."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*ARGUMENTS, "--no-sandbox"] if root else ARGUMENTS


def install() -> str:
    """The path of a Chromium, downloaded or installed if there was none."""
    if path := find():
        return path
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if path := find():
        return path
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-q", "chromium"], check=True)
    if path := find():
        return path
    raise SystemExit("No Chromium: install one, or set CHROMIUM to its path.")


if __name__ == "__main__":
    print(install())
