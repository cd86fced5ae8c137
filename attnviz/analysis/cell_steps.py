"""The arithmetic of one weight in the Layer lab, step by step, with the vectors behind each number.

Of a trace's weight, which has no recorded steps, `attnviz.analysis.weight_steps` has the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnviz.nn import AttentionSteps


@dataclass(frozen=True)
class CellSteps:
    """How query i of one head gets its weight on key j, and its output.

    Up to rounding ``product.sum() == raw`` and ``raw * scaling == scaled``. Softcap (if there is
    one), bias and mask give ``score``. Then ``exponentials / total == weights`` and
    ``contributions.sum(0) == output``.
    """

    query: np.ndarray  # (d_head,)
    key: np.ndarray  # (d_head,)
    product: np.ndarray  # (d_head,): query * key, elementwise
    raw: float  # the dot product
    scaling: float
    scaled: float
    softcap: float | None
    capped: float | None
    bias: float | None
    visible: bool
    score: float  # before softmax, -inf where masked
    weight: float
    scores: np.ndarray  # (n_k,): the whole row
    highest: float  # subtracted from every score before exp, so that nothing overflows
    exponentials: np.ndarray  # (n_k,): e^(score - highest)
    sink: float | None  # e^(sink - highest), part of the total
    total: float  # sum of the exponentials, including the sink's
    weights: np.ndarray  # (n_k,): the whole row, as applied to the values
    values: np.ndarray  # (n_k, d_head)
    contributions: np.ndarray  # (n_k, d_head): weight times value
    output: np.ndarray  # (d_head,)


def cell_steps(steps: AttentionSteps, head: int, query: int, key: int) -> CellSteps:
    """The arithmetic of ``steps.weights[0, head, query, key]``.

    Args:
        head: a query head; its key/value head follows from it.
        query, key: row and column.
    """
    shared = head * steps.k.shape[1] // steps.q.shape[1]
    q, k = _row(steps.q[0, head, query]), _row(steps.k[0, shared, key])
    at = (0, head, query, key)
    scores = _row(steps.scores[0, head, query])
    highest, sink = float(scores.max()), None
    if steps.sink is not None:
        highest = max(highest, float(steps.sink[head]))
        sink = float(np.exp(np.float64(steps.sink[head]) - highest))
    finite = np.isfinite(highest)
    exponentials = np.exp(scores - highest) if finite else np.zeros_like(scores)
    applied = steps.weights if steps.weights_dropped is None else steps.weights_dropped
    weights = _row(applied[0, head, query])
    values = _row(steps.v[0, shared])
    return CellSteps(
        query=q,
        key=k,
        product=q * k,
        raw=float(steps.scores_raw[at]),
        scaling=steps.config.scaling,
        scaled=float(steps.scores_scaled[at]),
        softcap=steps.config.softcap,
        capped=None if steps.scores_capped is None else float(steps.scores_capped[at]),
        bias=None if steps.bias is None else float(steps.bias[at]),
        visible=steps.mask is None or bool(steps.mask[0, 0, query, key]),
        score=float(steps.scores[at]),
        weight=float(steps.weights[at]),
        scores=scores,
        highest=highest,
        exponentials=exponentials,
        sink=sink,
        total=float(exponentials.sum()) + (sink or 0.0),
        weights=weights,
        values=values,
        contributions=weights[:, None] * values,
        output=_row(steps.heads[0, head, query]),
    )


def _row(tensor: object) -> np.ndarray:
    return np.asarray(tensor, dtype=np.float64)
