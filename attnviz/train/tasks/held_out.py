"""Held-out examples of generated data: which ones they are follows from their content."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attnviz.train.training_setup import Batch

HELD_OUT_BATCHES = 8
HELD_OUT_SEED = 2**31  # above every seed of a training


def is_held_out(ids: Tensor) -> Tensor:
    """(n,) bool: which rows of (n, length) ids are held out, one in eight, by a hash of the row.

    No random choice is involved, so that a held-out example is never trained on.
    """
    powers = torch.tensor([pow(31, i, 65_521) for i in range(ids.shape[1])])
    return (ids * powers).sum(1) * 2_654_435_761 // 65_536 % 8 == 0


def sample_split(
    sample: Callable[[torch.Generator, int], Tensor],
    generator: torch.Generator,
    n: int,
    held_out: bool,
) -> Tensor:
    """(n, length) samples, all held out or none.

    Args:
        sample: (generator, n) -> (n, length) ids.
    """
    kept: list[Tensor] = []
    found = 0
    while found < n:
        ids = sample(generator, 2 * n if not held_out else 12 * n)
        ids = ids[is_held_out(ids) == held_out]
        kept.append(ids)
        found += len(ids)
    return torch.cat(kept)[:n]


def held_out_batches(
    make: Callable[[torch.Generator, int], Batch], batch_size: int = 64
) -> tuple[Batch, ...]:
    """Held-out batches, the same for every training of a task."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    return tuple(make(generator, batch_size) for _ in range(HELD_OUT_BATCHES))
