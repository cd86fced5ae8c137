"""How much a training changed the attention of each head, on the probe example."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.trace import AttentionMap, Prediction, Trace
from attnviz.train import snapshots
from attnviz.train.job import Job

BLOCK_ROWS = 256  # queries whose weights are in memory at once


@dataclass(frozen=True)
class AttentionChange:
    """The first and the last snapshot of a job, compared.

    Attributes:
        divergence: (layers, heads) Jensen-Shannon divergence of the weights in bits, 0 to 1,
            averaged over queries; NaN where a layer has fewer heads or no known weights.
        before, after: the two snapshots.
    """

    divergence: np.ndarray
    before: snapshots.Snapshot
    after: snapshots.Snapshot

    def most_changed(self, n: int) -> list[tuple[int, int]]:
        """The n (layer, head) with the largest divergence, in descending order."""
        flat = np.nan_to_num(self.divergence, nan=-1.0).ravel()
        order = [int(i) for i in np.argsort(-flat, kind="stable")[:n] if flat[i] >= 0]
        return [divmod(i, self.divergence.shape[1]) for i in order]

    @property
    def predictions(self) -> tuple[tuple[Prediction, ...], tuple[Prediction, ...]]:
        """The likeliest tokens (or classes) before and after."""
        return self.before.predictions, self.after.predictions


def attention_change(job: Job) -> AttentionChange:
    """Compares the job's first and last snapshot.

    Raises:
        AttnVizError: there are fewer than two.
    """
    paths = job.snapshots()
    if len(paths) < 2:
        raise AttnVizError(
            "The job has no two snapshots to compare.", "Train with snapshots of the probe."
        )
    before, after = snapshots.read(paths[0]), snapshots.read(paths[-1])
    return AttentionChange(head_divergences(before.trace, after.trace), before, after)


def head_divergences(before: Trace, after: Trace) -> np.ndarray:
    """(layers, heads) `weight_divergence` of two traces of the same input, NaN where unknown."""
    n_heads = max((layer.n_heads for layer in after.layers), default=0)
    divergences = np.full((len(after.layers), n_heads), np.nan)
    for a, b in zip(before.layers, after.layers, strict=True):
        if "refused" in (a.source, b.source) or (a.n_q, a.n_k) != (b.n_q, b.n_k):
            continue
        for head in range(b.n_heads):
            maps = before.attention(a.index, head), after.attention(b.index, head)
            divergences[b.index, head] = weight_divergence(*maps)
    return divergences


def weight_divergence(a: AttentionMap, b: AttentionMap) -> float:
    """Jensen-Shannon divergence of two heads' weights, in bits, averaged over queries (Lin 1991).

    Where a row sums to less than one (a sink took the rest), the rest counts as one more key.
    """
    total = 0.0
    for i in range(0, a.n_q, BLOCK_ROWS):
        rows = slice(i, min(i + BLOCK_ROWS, a.n_q))
        p, q = _with_rest(a.weights(rows)), _with_rest(b.weights(rows))
        mean = (p + q) / 2
        total += float((_kl_divergence(p, mean) + _kl_divergence(q, mean)).sum() / 2)
    return max(0.0, total / max(1, a.n_q))


def _with_rest(weights: Tensor) -> Tensor:
    """(r, n_k) -> (r, n_k + 1): one more column, so that every row sums to one."""
    weights = weights.double()
    rest = (1 - weights.sum(-1, keepdim=True)).clamp(min=0)
    return torch.cat([weights, rest], dim=-1)


def _kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """(r,) Kullback-Leibler divergence in bits, with 0 log 0 = 0."""
    ratio = torch.where(p > 0, p / q, torch.ones_like(p))
    return (p * torch.log2(ratio)).sum(-1)
