"""The user's folders on each system."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs import windows
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from attnviz.models import user_folders


def test_the_cache_folder_of_each_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTNVIZ_CACHE", raising=False)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    # what Windows itself would say can only be learned there
    monkeypatch.setattr(windows, "get_win_folder", windows.get_win_folder_from_env_vars)
    found = {}
    for platform, dirs in (("darwin", MacOS), ("win32", windows.Windows), ("linux", Unix)):
        monkeypatch.setattr(user_folders, "PlatformDirs", dirs)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)  # macOS follows it too where it is set
        if platform == "linux":
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        found[platform] = user_folders.cache_folder()
    assert found["linux"] == tmp_path / "xdg" / "attnviz"
    assert found["darwin"] == Path.home() / "Library" / "Caches" / "attnviz"
    assert found["win32"] == tmp_path / "local" / "attnviz"
    monkeypatch.setenv("ATTNVIZ_CACHE", str(tmp_path / "mine"))
    assert user_folders.cache_folder() == tmp_path / "mine"


def test_the_data_folder_has_one_folder_for_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_folders, "PlatformDirs", Unix)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("ATTNVIZ_JOBS", raising=False)
    jobs = user_folders.data_folder("jobs", "ATTNVIZ_JOBS")
    assert jobs == tmp_path / "xdg" / "attnviz" / "jobs"
    assert not jobs.exists()
    monkeypatch.setenv("ATTNVIZ_JOBS", str(tmp_path / "mine"))
    assert user_folders.data_folder("jobs", "ATTNVIZ_JOBS") == tmp_path / "mine"
    monkeypatch.delenv("ATTNVIZ_JOBS")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # which the XDG standard says to ignore
    home = Path.home() / ".local" / "share" / "attnviz" / "jobs"
    assert user_folders.data_folder("jobs", "ATTNVIZ_JOBS") == home
