from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from attnviz.train import checkpoint_files


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "c" / "step-1"

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("disk")

    with pytest.raises(OSError):
        checkpoint_files.write_folder(target, fail)
    assert not list((tmp_path / "c").iterdir())
    checkpoint_files.write_folder(target, lambda folder: _write(folder / "a", "1"))
    checkpoint_files.write_folder(target, lambda folder: _write(folder / "b", "2"))
    assert [p.name for p in target.iterdir()] == ["b"]


def test_the_optimizer_comes_back_bit_for_bit(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for _ in range(3):
        layer(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
    checkpoint_files.save_optimizer(tmp_path, optimizer.state_dict(), scheduler.state_dict())
    state, schedule = checkpoint_files.load_optimizer(tmp_path)
    again = torch.optim.AdamW(layer.parameters(), lr=0.1)
    again.load_state_dict(state)
    for a, b in zip(optimizer.state.values(), again.state.values(), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert schedule["last_epoch"] == 3
    assert again.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_randomness_comes_back(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    draw()
    checkpoint_files.save_rng_state(tmp_path, 0)
    expected = draw()
    draw()
    checkpoint_files.load_rng_state(tmp_path, 0)
    assert draw() == expected


def test_nothing_is_pickled(tmp_path: Path) -> None:
    checkpoint_files.save_rng_state(tmp_path, 0)
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}


def _write(path: Path, text: str) -> None:
    path.write_text(text)
