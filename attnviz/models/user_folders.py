"""The user's folders for attnviz: a cache that can be rebuilt, and data that cannot."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import PlatformDirs


def cache_folder() -> Path:
    """The folder for what can be made again; it may not exist yet.

    $ATTNVIZ_CACHE if it is set. Otherwise `attnviz` in the user's cache folder: $XDG_CACHE_HOME or
    ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.
    """
    return _from_environment("ATTNVIZ_CACHE") or _dirs().user_cache_path


def data_folder(name: str, variable: str) -> Path:
    """The folder for one kind of the user's own work; it may not exist yet.

    Args:
        name: the folder's name within attnviz's data folder, e.g. ``"models"``: on Linux within
            $XDG_DATA_HOME/attnviz or ~/.local/share/attnviz.
        variable: the environment variable that overrides the whole path.
    """
    return _from_environment(variable) or _dirs().user_data_path / name


def _dirs() -> PlatformDirs:
    # without opinion, there is no Cache folder within attnviz's on Windows
    return PlatformDirs("attnviz", appauthor=False, opinion=False)


def _from_environment(variable: str) -> Path | None:
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser().resolve() if chosen else None
