"""All heads of a trace as thumbnails, with the numbers to sort and filter them by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from attnviz.analysis.heads import HeadMetrics, summarize_layer
from attnviz.analysis.metrics import METRICS
from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits
from attnviz.canvas.naming import layer_name, trace_id
from attnviz.trace import AttentionLayer, Trace
from attnviz.trace.pooling import masked_squares, square_side

THUMBNAIL = 64  # cells a side, about as many pixels as one of 144 heads has on a screen


@dataclass(frozen=True)
class GridLayer:
    """All heads of one layer.

    Attributes:
        index: of the layer. thumbnails: (H, R, C) uint8, the upper byte of 16-bit codes.
        metrics: of each head.
    """

    index: int
    thumbnails: np.ndarray
    metrics: tuple[HeadMetrics, ...]


@dataclass(frozen=True)
class GridPayload:
    """Thumbnails, layer after layer. Those of layers not computed yet are empty.

    Attributes:
        layers: all layers of the trace, in order. titles: their names on screen.
        thumbnails: by layer, (H, R, C) uint8, the upper byte of 16-bit codes; without refused
            layers and those not computed yet.
        metrics: every head of these layers, in the same order.
        selected: (layer, head) to mark. size: cells along a thumbnail's longer side.
        have: id of the grid that the browser has, so that it need not be sent again.
    """

    layers: tuple[AttentionLayer, ...]
    titles: tuple[str, ...]
    thumbnails: dict[int, np.ndarray]
    metrics: tuple[HeadMetrics, ...]
    selected: tuple[int, int] | None = None
    id: str = ""
    size: int = THUMBNAIL
    have: str = ""

    @property
    def complete(self) -> bool:
        """Whether every layer that can be shown has been computed."""
        return all(x.index in self.thumbnails for x in self.layers if x.source != "refused")

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        if self.have and self.have == self.id:
            known = {"mode": "grid", "id": self.id, "selected": self.selected}
            return wire.pack({**known, **display}, {})
        blocks: list[dict[str, object]] = []
        cells, at = [np.zeros(0, np.uint8)], 0
        values: list[list[float | None]] = []
        for layer, title in zip(self.layers, self.titles, strict=True):
            block: dict[str, object] = {"index": layer.index, "kind": layer.kind, "title": title}
            block |= {"source": layer.source, "reason": layer.reason}
            blocks.append(block)
            if layer.source == "refused":
                continue
            small = self.thumbnails.get(layer.index, self._empty(layer))
            H, R, C = small.shape
            block |= {"heads": H, "rows": R, "cols": C, "at": at, "keys": layer.n_k}
            if layer.index not in self.thumbnails:
                block["pending"] = True
            at += small.size
            cells.append(small.ravel())
            computed = [m for m in self.metrics if m.layer == layer.index]
            values += [[m.values.get(name) for name in METRICS] for m in computed]
            values += [[None] * len(METRICS)] * (H - len(computed))
        header = {
            "mode": "grid",
            "id": self.id,
            "layers": blocks,
            "metrics": [
                {"key": m.name, "title": m.title, "help": f"{m.help} ({m.unit})"}
                for m in METRICS.values()
            ],
            "selected": self.selected,
        }
        table = np.array(values, dtype=np.float32).reshape(-1, len(METRICS))  # None becomes nan
        arrays: dict[str, np.ndarray] = {"cells": np.concatenate(cells), "values": table}
        return wire.pack({**header, **display}, arrays)

    def _empty(self, layer: AttentionLayer) -> np.ndarray:
        """Empty thumbnails in the size of those to come, so that the layout is final."""
        side = square_side(layer.n_q, layer.n_k, self.size)
        return np.zeros((layer.n_heads, -(-layer.n_q // side), -(-layer.n_k // side)), np.uint8)


def grid_payload(
    trace: Trace,
    *,
    selected: tuple[int, int] | None = None,
    size: int = THUMBNAIL,
    item: int = 0,
) -> GridPayload:
    """Every head of every layer: thumbnails and metrics from one pass over the weights.

    Args:
        selected: (layer, head) to mark. size: cells along a thumbnail's longer side.
        item: which text of a batch.
    """
    computed = [
        grid_layer(trace, layer.index, size=size, item=item)
        for layer in trace.layers
        if layer.source != "refused"
    ]
    return assemble_grid(trace, computed, selected=selected, size=size, item=item)


def grid_layer(trace: Trace, layer: int, *, size: int = THUMBNAIL, item: int = 0) -> GridLayer:
    """Every head of one layer, which must not be refused."""
    small, metrics = summarize_layer(trace, layer, size, item)
    return GridLayer(layer, thumbnail_bytes(trace, layer, small, size, item), metrics)


def thumbnail_bytes(
    trace: Trace, layer: int, thumbnails: Tensor, size: int, item: int = 0
) -> np.ndarray:
    """(H, R, C) uint8, the upper byte of each cell's code; 255 where a whole square is masked.

    Args:
        thumbnails: (H, R, C) the largest weight of each square. size: cells along the longer side.
    """
    shape = trace.layers[layer]
    side, heads = square_side(shape.n_q, shape.n_k, size), slice(0, shape.n_heads)
    record, rows, cols = trace.layer_record(layer, item), slice(0, shape.n_q), slice(0, shape.n_k)
    masked = masked_squares(record, heads, rows, cols, side, item)
    hidden = None if masked is None else np.broadcast_to(masked.numpy(), thumbnails.shape)
    codes = SignificantDigits().encode(thumbnails.float().cpu().numpy(), hidden)
    return (codes >> 8).astype(np.uint8)


def assemble_grid(
    trace: Trace,
    computed: Sequence[GridLayer],
    *,
    selected: tuple[int, int] | None = None,
    size: int = THUMBNAIL,
    item: int = 0,
) -> GridPayload:
    """A grid of the layers computed so far, in order; the others are empty."""
    thumbnails = {one.index: one.thumbnails for one in computed}
    metrics = tuple(metric for one in computed for metric in one.metrics)
    id = f"{trace_id(trace)}/{size}/{item}/{len(computed)}"
    titles = tuple(layer_name(trace, layer.index) for layer in trace.layers)
    return GridPayload(trace.layers, titles, thumbnails, metrics, selected, id, size)
