"""How much each head attends to the keys that a task needs, beside what uniform attention gives.

    scores, uniform = target_scores(trace, layer, keys)     # (H,), one number

The keys are given for each query, e.g. by `attnviz.train.tasks.targets`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch

from attnviz.trace import Trace


def target_scores(
    trace: Trace, layer: int, keys: Sequence[Collection[int]], item: int = 0
) -> tuple[np.ndarray, float] | None:
    """The score of every head of a layer, and that of uniform attention.

        score = mean over queries i with T(i) of Σ_{j in T(i)} w[i, j]
        uniform = mean over the same queries of |T(i) that i sees| / |keys that i sees|

    Both are from 0 to 1. A masked key counts as one that i does not see.

    Args:
        keys: T(i) for each query; queries with none are left out.

    Returns:
        (H,) float64 and the uniform score; None if no query has a target.

    Raises:
        AttnVizError: no such layer, or one that was refused.
        ValueError: a list of another length than the layer's queries, or a key out of range.
    """
    shown = trace.layers[layer]
    if len(keys) != shown.n_q or any(not 0 <= j < shown.n_k for some in keys for j in some):
        raise ValueError(f"Targets are needed for {shown.n_q} queries, among {shown.n_k} keys.")
    rows = [i for i, some in enumerate(keys) if some]
    if not rows:
        return None
    wanted = torch.zeros(len(rows), shown.n_k, dtype=torch.bool)
    for r, i in enumerate(rows):
        wanted[r, list(keys[i])] = True
    scores, uniform = [], 0.0
    for head in range(shown.n_heads):
        a = trace.attention(layer, head, item=item)
        picked = a.weights().cpu().double()[rows]  # (r, n_k)
        scores.append(float((picked * wanted).sum(dim=1).mean()))
        masked = a.masked()
        visible = torch.ones_like(wanted) if masked is None else ~masked.cpu()[rows]
        share = (wanted & visible).sum(dim=1).double() / visible.sum(dim=1).clamp_min(1)
        uniform += float(share.mean()) / shown.n_heads
    return np.array(scores), uniform
