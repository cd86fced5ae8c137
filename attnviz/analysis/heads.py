"""What each head does, as numbers: how sharply it looks, how far, and at what.

Every number is a mean over the map's rows and exact: weights are read block by block, all heads of
a layer at once, and never held whole. What there is to measure of a head is in
`attnviz.analysis.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.analysis import overviews
from attnviz.analysis.metrics import METRICS, Means, row_entropy
from attnviz.analysis.positions import Positions, tokens_of
from attnviz.analysis.reading import Reading
from attnviz.analysis.spread import spread
from attnviz.trace import Trace
from attnviz.trace.compute import row_blocks
from attnviz.trace.structure import Kind


@dataclass(frozen=True)
class HeadMetrics:
    """One head in numbers.

    Every registered metric is an attribute as well: ``metric.entropy``.

    Attributes:
        layer: index into ``trace.layers``. kind: that layer's.
        values: by name, in the order of ``metrics.METRICS``, which explains them; None where a
            number has no meaning, such as distances in cross-attention.
    """

    layer: int
    head: int
    kind: Kind
    values: Mapping[str, float | None]

    def __getattr__(self, name: str) -> float | None:
        values = self.__dict__.get("values", {})  # not there yet while a copy is made
        if name in values:
            return values[name]
        raise AttributeError(f"There is no metric {name!r}.")


@dataclass(frozen=True)
class TokenMetrics:
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


def head_metrics(trace: Trace, item: int = 0) -> tuple[HeadMetrics, ...]:
    """Every head of every layer that was not refused."""
    return tuple(metric for _, _, found in summarize_layers(trace, 1, item) for metric in found)


def summarize_layers(
    trace: Trace, size: int = 64, item: int = 0
) -> Iterator[tuple[int, Tensor, tuple[HeadMetrics, ...]]]:
    """Thumbnails and metrics from one reading of the weights, layer by layer.

    Yields:
        A layer's index, its (H, <= size, <= size) thumbnails, its heads' metrics.
    """
    for layer in trace.layers:
        if layer.source != "refused":
            yield layer.index, *summarize_layer(trace, layer.index, size, item)


def summarize_layer(
    trace: Trace, layer: int, size: int = 64, item: int = 0
) -> tuple[Tensor, tuple[HeadMetrics, ...]]:
    """One layer's (H, <= size, <= size) thumbnails and its heads' metrics.

    Raises:
        AttnVizError: no such layer, or one that was refused.
    """
    reading = Reading(trace, layer, size, item)
    for strip in spread(reading.read, reading.strips()):
        reading.add(strip)
    kind = trace.layers[layer].kind
    found = (HeadMetrics(layer, h, kind, values) for h, values in enumerate(reading.metrics()))
    return reading.thumbnails, tuple(found)


def baselines(trace: Trace, layer: int, item: int = 0) -> tuple[HeadMetrics, ...]:
    """What each head's metrics would be, if it looked at all keys it may see alike.

    Exact: the metrics of these weights, so a sink's share is left out and a row that sees no key
    counts as 0. All are None where a layer keeps its mask to itself or a head's pattern was set by
    hand.

    Raises:
        AttnVizError: no such layer, or one that was refused.
    """
    held, kind = trace.layer_record(layer, item), trace.layers[layer].kind
    _, H, n_q, n_k = held.shape
    heads = slice(0, H)
    if held.visible_counts(item, heads) is None:
        return tuple(HeadMetrics(layer, h, kind, dict.fromkeys(METRICS)) for h in range(H))
    tokens = tokens_of(trace, layer, item, held.device)
    means = Means(tokens)
    for rows in row_blocks(n_q, n_k, H):
        lo, hi = held.key_range(item, rows)
        hidden = held.masked(item, heads, rows, slice(lo, hi))
        if hidden is None:
            seen = torch.ones(1, rows.stop - rows.start, hi - lo, device=held.device)
        else:  # (h or 1, r or 1, c): heads that share a mask are measured once
            seen = (~hidden).float().expand(-1, rows.stop - rows.start, -1)
        w = seen / seen.sum(dim=2, keepdim=True).clamp_min(1)
        sums = means.measure(w, Positions(tokens, rows, lo, hi, w.dtype, w.device))
        means.add({name: sum.double().cpu().expand(H) for name, sum in sums.items()})
    return tuple(HeadMetrics(layer, h, kind, values) for h, values in enumerate(means.by_head()))


def token_metrics(trace: Trace, layer: int, head: int | None = None, item: int = 0) -> TokenMetrics:
    """Attention received and sent, token by token.

    Args:
        head: by default the mean over the layer's heads.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    held = trace.layer_record(layer, item)
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
    return TokenMetrics(received, held.visible_counts(item, heads), sent if own else None, entropy)
