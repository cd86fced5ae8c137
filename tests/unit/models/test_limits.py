"""Whether memory and disk suffice."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from attnviz.errors import AttnVizError
from attnviz.models import limits


def test_what_fits_and_what_does_not() -> None:
    limits.require_memory(2**20, "A small thing")
    total = psutil.virtual_memory().total
    assert 0 < limits.available_memory() <= total
    with pytest.raises(AttnVizError, match=r"^A large thing needs about .* GiB of memory"):
        limits.require_memory(total, "A large thing")


def test_disk_space_is_that_of_the_nearest_existing_folder(tmp_path: Path) -> None:
    limits.require_disk(2**20, tmp_path / "not" / "yet", "A small thing")
    with pytest.raises(AttnVizError, match="of disk space under"):
        limits.require_disk(2**60, tmp_path / "not" / "yet", "A large thing")


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(0, "0 MiB"), (3 * 2**20, "3 MiB"), (5 * 2**29, "2.5 GiB")]
)
def test_bytes_are_formatted(n_bytes: int, words: str) -> None:
    assert limits.format_bytes(n_bytes) == words


@pytest.mark.gpu
def test_a_model_larger_than_the_gpu() -> None:
    free = limits.available_memory(torch.device("cuda"))
    with pytest.raises(AttnVizError, match="of memory on cuda"):
        limits.require_memory(free, "A large thing", torch.device("cuda"))


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_the_memory_of_a_container_counts_cached_files_as_free(tmp_path: Path) -> None:
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


def test_the_memory_of_a_container_of_version_1(tmp_path: Path) -> None:
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
