"""Each head in numbers: how sharply it attends, how far, and to what.

Every number is exact, a mean over the rows of a map. Weights are computed block by block, all heads
of a layer together; a whole map is never in memory. The metrics themselves are in
`attnviz.analysis.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnviz.analysis.layer_pass import LayerPass
from attnviz.analysis.metrics import METRICS, Means
from attnviz.analysis.parallel import parallel_map
from attnviz.analysis.positions import Positions, Row, Tile, layer_tokens, row_entropy
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from attnviz.trace.pooling import blocks
from attnviz.trace.records import row_blocks
from attnviz.trace.structure import Kind


@dataclass(frozen=True)
class HeadMetrics:
    """The metrics of one head.

    Every registered metric is an attribute as well: ``head.entropy``.

    Attributes:
        layer: index into ``trace.layers``. kind: of that layer.
        values: by name, in the order of ``metrics.METRICS``; None where a metric is undefined, such
            as distances in cross-attention.
    """

    layer: int
    head: int
    kind: Kind
    values: Mapping[str, float | None]

    def __getattr__(self, name: str) -> float | None:
        values = self.__dict__.get("values", {})  # missing while a copy is made
        if name in values:
            return values[name]
        raise AttributeError(f"There is no metric {name!r}.")


@dataclass(frozen=True)
class TokenMetrics:
    """A head (or the mean of a layer's heads), token by token; float64, on the CPU.

    Attributes:
        received: (n_k,) Σ_i w[i, j]: the attention on each key.
        n_visible: (n_k,) how many queries may attend to each key; None where a layer's mask is
            unknown or its pattern was set by an edit.
        sent: (n_q,) Σ_j w[i, j] over j != p(i): the weight of each query on other tokens than
            itself (less than 1 - w[i, p(i)] where a sink takes a share); None in cross-attention.
        entropy: (n_q,) -Σ_j w[i, j] log2 w[i, j] in bits: how widely each query attends.
    """

    received: Tensor
    n_visible: Tensor | None
    sent: Tensor | None
    entropy: Tensor


def head_metrics(trace: Trace, item: int = 0) -> tuple[HeadMetrics, ...]:
    """Every head of every layer that was not refused."""
    return tuple(head for _, _, heads in summarize_layers(trace, 1, item) for head in heads)


def layer_metrics(trace: Trace, layer: int, item: int = 0) -> tuple[HeadMetrics, ...]:
    """Every head of one layer.

    Raises:
        AttnVizError: no such layer, or one that was refused.
    """
    return summarize_layer(trace, layer, 1, item)[1]


def summarize_layers(
    trace: Trace, size: int = 64, item: int = 0
) -> Iterator[tuple[int, Tensor, tuple[HeadMetrics, ...]]]:
    """Thumbnails and metrics from one pass over the weights, layer by layer.

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
    layer_pass = LayerPass(trace, layer, size, item)
    for strip in parallel_map(layer_pass.compute, layer_pass.strips()):
        layer_pass.add(strip)
    kind = trace.layers[layer].kind
    heads = (HeadMetrics(layer, h, kind, values) for h, values in enumerate(layer_pass.metrics()))
    return layer_pass.thumbnails, tuple(heads)


def baselines(trace: Trace, layer: int, item: int = 0) -> tuple[HeadMetrics, ...]:
    """The metrics of heads that attend to all visible keys alike.

    They are computed from such weights, so a sink has no share and a row without a visible key
    counts as 0. All are None where a layer's mask is unknown or a pattern was set by an edit.

    Raises:
        AttnVizError: no such layer, or one that was refused.
    """
    record, kind = trace.layer_record(layer, item), trace.layers[layer].kind
    _, H, n_q, n_k = record.shape
    heads = slice(0, H)
    if record.visible_counts(item, heads) is None:
        return tuple(HeadMetrics(layer, h, kind, dict.fromkeys(METRICS)) for h in range(H))
    tokens = layer_tokens(trace, layer, item, record.device)
    means = Means(tokens)
    for rows in row_blocks(n_q, n_k, H):
        lo, hi = record.key_range(item, rows)
        masked = record.masked(item, heads, rows, slice(lo, hi))
        if masked is None:
            visible = torch.ones(1, rows.stop - rows.start, hi - lo, device=record.device)
        else:  # (h or 1, r or 1, c): heads that share a mask are measured once
            visible = (~masked).float().expand(-1, rows.stop - rows.start, -1)
        w = visible / visible.sum(dim=2, keepdim=True).clamp_min(1)
        sums = means.measure(Tile(w, Positions(tokens, rows, lo, hi, w.dtype, w.device)))
        means.add({name: sum.double().cpu().expand(H) for name, sum in sums.items()})
    return tuple(HeadMetrics(layer, h, kind, values) for h, values in enumerate(means.by_head()))


def all_baselines(trace: Trace, item: int = 0) -> dict[int, tuple[HeadMetrics, ...]]:
    """``baselines`` of every layer that was not refused, by its index.

    They are computed once for layers of the same tokens and masks: in most models for all of them.
    """
    found: dict[int, tuple[HeadMetrics, ...]] = {}
    for layer in trace.layers:
        if layer.source == "refused":
            continue
        record, tokens = trace.layer_record(layer.index, item), trace.col_tokens(layer.index, item)
        for other in found:
            if (
                trace.layers[other].kind == layer.kind
                and trace.col_tokens(other, item) == tokens
                and record.masks_as(trace.layer_record(other, item))
            ):
                found[layer.index] = tuple(replace(m, layer=layer.index) for m in found[other])
                break
        else:
            found[layer.index] = baselines(trace, layer.index, item)
    return found


def query_metric(trace: Trace, layer: int, head: int, name: str, item: int = 0) -> Tensor:
    """One metric of one head, query by query.

    The mean of the values that aren't NaN is the head's metric.

    Returns:
        (n_q,) float64, on the CPU; NaN at queries that don't count.

    Raises:
        AttnVizError: no such layer, head or metric, or a layer that was refused.
    """
    if name not in METRICS:
        raise AttnVizError(f"There is no metric {name!r}.", f"Choose one of {', '.join(METRICS)}.")
    metric, record = METRICS[name], trace.layer_record(layer, item)
    trace.attention(layer, head, item=item)  # raises if there is no such head
    tokens = layer_tokens(trace, layer, item, torch.device("cpu"))
    found = torch.full((tokens.n_q,), torch.nan, dtype=torch.float64)
    if not metric.rows(tokens):
        return found
    for block in blocks(record, slice(head, head + 1), item):
        w = torch.zeros(block.weights.shape[1], tokens.n_k, dtype=torch.float64)  # (r, n_k)
        w[:, block.lo : block.hi] = block.weights[0]
        for i, row in zip(range(block.rows.start, block.rows.stop), w, strict=True):
            found[i] = metric.of_query(Row(row, i, tokens))
    return found


def token_metrics(trace: Trace, layer: int, head: int | None = None, item: int = 0) -> TokenMetrics:
    """Attention received and sent, token by token.

    Args:
        head: by default the mean over the layer's heads.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    record = trace.layer_record(layer, item)
    _, H, n_q, n_k = record.shape
    heads = slice(0, H) if head is None else slice(head, head + 1)
    trace.attention(layer, heads.start, item=item)  # raises if there is no such head
    received = torch.zeros(n_k, dtype=torch.float64)
    entropy, sent = torch.zeros(n_q, dtype=torch.float64), torch.zeros(n_q, dtype=torch.float64)
    own = trace.layers[layer].kind != "cross"  # queries and keys are the same tokens
    for block in blocks(record, heads, item):
        w, rows, keys = block.weights, block.rows, slice(block.lo, block.hi)
        received[keys] += w.sum(dim=1).mean(dim=0).double().cpu()
        entropy[rows] = row_entropy(w).mean(dim=0).double().cpu()
        if own:
            p = torch.arange(rows.start, rows.stop, device=w.device) + n_k - n_q
            itself = p[:, None] == torch.arange(block.lo, block.hi, device=w.device)  # (r, c)
            others = w.masked_fill(itself, 0.0).sum(dim=2)  # 1 - w[i, i] would lose digits
            sent[rows] = others.mean(dim=0).double().cpu()
    return TokenMetrics(
        received, record.visible_counts(item, heads), sent if own else None, entropy
    )
