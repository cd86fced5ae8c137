"""What each head does, as numbers: how sharply it looks, how far, and at what.

Every number is a mean over the map's rows and exact: weights are read block by block, all heads of
a layer at once, and never held whole. ``w[i, j]`` is the weight of query i on key j; ``p(i)`` is
the position of query i among the keys, ``i + n_k - n_q`` where a text was continued.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnviz.analysis import overviews
from attnviz.analysis.reading import Reading, row_entropy
from attnviz.analysis.spread import spread
from attnviz.trace import Trace
from attnviz.trace.structure import Kind


@dataclass(frozen=True)
class HeadMetric:
    """One head in numbers. None where a number has no meaning: distances in cross-attention.

    Attributes:
        layer: index into ``trace.layers``. kind: that layer's.
        entropy: mean over i of -Σ_j w[i, j] log2 w[i, j], in bits; 0 looks at one key,
            log2(n_k) at all alike.
        distance: mean over i of Σ_j w[i, j] |p(i) - j|, in tokens.
        first: mean over i of w[i, 0].
        itself: mean over i of w[i, p(i)].
        previous: mean over i with p(i) > 0 of w[i, p(i) - 1].
        max_weight: mean over i of max_j w[i, j].
        induction: mean of Σ_j w[i, j] over the keys j <= p(i) that follow an earlier occurrence of
            token i (Olsson et al. 2022), over the rows i that have one; None if none has.
    """

    layer: int
    head: int
    kind: Kind
    entropy: float
    distance: float | None
    first: float
    itself: float | None
    previous: float | None
    max_weight: float
    induction: float | None


# Each metric's name to a reader, and what it says; the order of the choices on screen.
METRICS: dict[str, tuple[str, str]] = {
    "entropy": ("Entropy", "bits a row: 0 looks at one key, more spreads out"),
    "distance": ("Distance", "tokens between a query and what it looks at"),
    "first": ("To the first token", "mean weight on key 0"),
    "itself": ("To itself", "mean weight on the query's own position"),
    "previous": ("To the previous token", "mean weight on the position before"),
    "max_weight": ("Largest weight", "mean over rows of the row's largest weight"),
    "induction": ("Induction", "mean weight on what followed the same token before"),
}


@dataclass(frozen=True)
class TokenMetric:
    """A head (or the mean of a layer's heads), token by token; float64, on the CPU.

    Attributes:
        received: (n_k,) Σ_i w[i, j]: how much attention each key gets.
        seen: (n_k,) how many queries may look at each key; None where a layer keeps its mask to
            itself or its pattern was set by hand.
        sent: (n_q,) Σ_j w[i, j] over j != p(i): what each query looks at besides itself (less
            than 1 - w[i, p(i)] where a sink takes its share); None in cross-attention.
        entropy: (n_q,) -Σ_j w[i, j] log2 w[i, j] in bits: how widely each query looks.
    """

    received: Tensor
    seen: Tensor | None
    sent: Tensor | None
    entropy: Tensor


def head_metrics(trace: Trace, item: int = 0) -> tuple[HeadMetric, ...]:
    """Every head of every layer that was not refused."""
    return tuple(metric for _, _, found in survey(trace, 1, item) for metric in found)


def survey(
    trace: Trace, size: int = 64, item: int = 0
) -> Iterator[tuple[int, Tensor, tuple[HeadMetric, ...]]]:
    """Thumbnails and metrics from one reading of the weights, layer by layer.

    Yields:
        A layer's index, its (H, <= size, <= size) thumbnails, its heads' metrics.
    """
    for layer in trace.layers:
        if layer.source != "refused":
            yield layer.index, *survey_layer(trace, layer.index, size, item)


def survey_layer(
    trace: Trace, layer: int, size: int = 64, item: int = 0
) -> tuple[Tensor, tuple[HeadMetric, ...]]:
    """One layer's (H, <= size, <= size) thumbnails and its heads' metrics.

    Raises:
        AttnVizError: no such layer, or one that was refused.
    """
    reading = Reading(trace, layer, size, item)
    for strip in spread(reading.read, reading.strips()):
        reading.add(strip)
    kind, n = trace.layers[layer].kind, len(reading.thumbnails)
    means: dict[str, Any] = dict.fromkeys(METRICS, [None] * n) | reading.means()
    found = (
        HeadMetric(layer, h, kind, **{name: means[name][h] for name in METRICS}) for h in range(n)
    )
    return reading.thumbnails, tuple(found)


def token_metrics(trace: Trace, layer: int, head: int | None = None, item: int = 0) -> TokenMetric:
    """Attention received and sent, token by token.

    Args:
        head: by default the mean over the layer's heads.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    held = trace.recorded(layer, item)
    _, H, n_q, n_k = held.shape
    heads = slice(0, H) if head is None else slice(head, head + 1)
    trace.attention(layer, heads.start, item=item)  # says so if there is no such head
    received = torch.zeros(n_k, dtype=torch.float64)
    entropy, sent = torch.zeros(n_q, dtype=torch.float64), torch.zeros(n_q, dtype=torch.float64)
    own = trace.layers[layer].kind != "cross"  # queries and keys are the same tokens
    for block in overviews.blocks(held, heads, item):
        w, rows, keys = block.weights, block.rows, slice(block.lo, block.hi)
        received[keys] += w.sum(dim=1).mean(dim=0).double().cpu()
        entropy[rows] = row_entropy(w).mean(dim=0).double().cpu()
        if own:
            p = torch.arange(rows.start, rows.stop, device=w.device) + n_k - n_q
            itself = p[:, None] == torch.arange(block.lo, block.hi, device=w.device)  # (r, c)
            others = w.masked_fill(itself, 0.0).sum(dim=2)  # 1 - w[i, i] would lose digits
            sent[rows] = others.mean(dim=0).double().cpu()
    return TokenMetric(received, held.seen(item, heads), sent if own else None, entropy)
