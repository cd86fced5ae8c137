from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch
from platformdirs import windows
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from attnviz.errors import AttnVizError
from attnviz.models import devices, limits, user_folders

CPU = torch.device("cpu")


def test_the_cpu_is_always_there_and_last() -> None:
    assert devices.available()[-1] == "cpu"
    assert devices.resolve_device("auto").type == devices.available()[0]
    assert devices.resolve_device("cpu") == CPU


@pytest.mark.parametrize("choice", ["gpu", "", "cuda:99", "xpu"])
def test_devices_that_are_not_there(choice: str) -> None:
    with pytest.raises(AttnVizError, match="Choose one of auto"):
        devices.resolve_device(choice)


def test_auto_keeps_half_precision_for_cuda() -> None:
    stored = torch.bfloat16
    assert devices.resolve_dtype("auto", CPU, stored) == torch.float32
    assert devices.resolve_dtype("auto", torch.device("cuda"), stored) == torch.bfloat16
    assert devices.resolve_dtype("auto", torch.device("mps"), stored) == torch.float32


@pytest.mark.parametrize("choice", devices.DTYPES)
def test_a_named_format_is_taken(choice: str) -> None:
    assert devices.resolve_dtype(choice, CPU) == getattr(torch, choice)


def test_formats_that_cannot_be() -> None:
    with pytest.raises(AttnVizError, match="'int4' is not a number format"):
        devices.resolve_dtype("int4", CPU)
    with pytest.raises(AttnVizError, match="mps device has no float64"):
        devices.resolve_dtype("float64", torch.device("mps"))


def test_what_fits_and_what_does_not() -> None:
    limits.require_memory(2**20, "A small thing")
    total = psutil.virtual_memory().total
    assert 0 < limits.available_memory() <= total
    with pytest.raises(AttnVizError, match=r"^A large thing needs about .* GiB of memory"):
        limits.require_memory(total, "A large thing")


def test_disk_space_is_asked_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    limits.require_disk(2**20, tmp_path / "not" / "yet", "A small thing")
    with pytest.raises(AttnVizError, match="of disk space under"):
        limits.require_disk(2**60, tmp_path / "not" / "yet", "A large thing")


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(0, "0 MiB"), (3 * 2**20, "3 MiB"), (5 * 2**29, "2.5 GiB")]
)
def test_bytes_for_a_person(n_bytes: int, words: str) -> None:
    assert limits.format_bytes(n_bytes) == words


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


@pytest.mark.gpu
def test_a_model_larger_than_the_gpu() -> None:
    free = limits.available_memory(torch.device("cuda"))
    with pytest.raises(AttnVizError, match="of memory on cuda"):
        limits.require_memory(free, "A large thing", torch.device("cuda"))


@pytest.mark.gpu
def test_auto_finds_the_gpu() -> None:
    assert devices.resolve_device("auto").type == "cuda"


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_what_a_container_grants_counts_no_cached_files(tmp_path: Path) -> None:
    """Version 2: the process's own group has no limit, the one above it has."""
    membership = tmp_path / "membership"
    membership.write_text("0::/service/worker\n")
    root = tmp_path / "cgroup"
    stat = "anon 300\ninactive_file 500\nactive_file 100"
    group(root / "service", memory__max=2000, memory__current=1200, memory__stat=stat)
    group(root / "service/worker", memory__max="max", memory__current=1000, memory__stat=stat)
    assert limits._cgroup_memory(root, membership) == 2000 - (1200 - 500)
    (root / "service/memory.stat").unlink()
    assert limits._cgroup_memory(root, membership) == 2000 - 1200
    membership.write_text("0::/elsewhere\n")
    assert limits._cgroup_memory(root, membership) is None
    assert limits._cgroup_memory(root, tmp_path / "no such file") is None


def test_what_a_container_of_version_1_grants(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("5:devices:/\n4:memory:/box\n0::/\n")
    root = tmp_path / "cgroup"
    group(
        root / "memory/box",
        memory__limit_in_bytes=2000,
        memory__usage_in_bytes=1200,
        memory__stat="inactive_file 1\ntotal_inactive_file 500",
    )
    group(root / "memory", memory__limit_in_bytes=1000, memory__usage_in_bytes=900, memory__stat="")
    assert limits._cgroup_memory(root, membership) == 100  # the group above has less left
