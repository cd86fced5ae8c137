"""The folder where attnviz keeps what it would otherwise make again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache folder for attnviz; it may not exist yet.

    ATTNVIZ_CACHE names it outright. Without that it is `attnviz` in %LOCALAPPDATA% on Windows, in
    ~/Library/Caches on macOS, and in $XDG_CACHE_HOME or ~/.cache elsewhere.
    """
    if chosen := os.environ.get("ATTNVIZ_CACHE"):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "attnviz"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "attnviz"
    xdg = os.environ.get("XDG_CACHE_HOME", "")  # the standard says to ignore a relative one
    return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "attnviz"
