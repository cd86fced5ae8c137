"""Where attnviz keeps things: what it would otherwise make again, and what a person has made."""

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


def data_folder(name: str, variable: str) -> Path:
    """The user's folder for one kind of thing that a person has made; it may not exist yet.

    Args:
        name: of the folder within attnviz's. variable: the environment's, which names it outright.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen).expanduser().resolve()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        xdg = os.environ.get("XDG_DATA_HOME", "")
        base = Path(xdg) if os.path.isabs(xdg) else Path.home() / ".local" / "share"
    return base / "attnviz" / name
