"""All heads of a trace as thumbnails, with the numbers to sort and filter them by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnviz.analysis.heads import METRICS, HeadMetric, survey
from attnviz.trace import AttentionLayer, Trace
from attnviz.ui.canvas import wire
from attnviz.ui.canvas.labels import layer_name, trace_id
from attnviz.ui.canvas.numbers import Significant

THUMBNAIL = 64  # cells a side: what a screen shows of one of 144 heads


@dataclass(frozen=True)
class GridPayload:
    """Thumbnails, layer after layer.

    Attributes:
        layers: the layers shown and refused, in order. titles: their names to a reader.
        thumbnails: one (H, R, C) uint8 array a shown layer: the upper byte of 16-bit codes.
        metrics: every head of the shown layers, in the same order.
        selected: (layer, head) to be marked.
    """

    layers: tuple[AttentionLayer, ...]
    titles: tuple[str, ...]
    thumbnails: dict[int, np.ndarray]
    metrics: tuple[HeadMetric, ...]
    selected: tuple[int, int] | None = None
    id: str = ""

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        blocks, at = [], 0
        for layer, title in zip(self.layers, self.titles, strict=True):
            block = {"index": layer.index, "kind": layer.kind, "title": title}
            block |= {"source": layer.source, "reason": layer.reason}
            small = self.thumbnails.get(layer.index)
            if small is not None:
                H, R, C = small.shape
                block |= {"heads": H, "rows": R, "cols": C, "at": at}
                at += small.size
            blocks.append(block)
        flat = [self.thumbnails[x.index].ravel() for x in self.layers if x.index in self.thumbnails]
        header = {
            "mode": "grid",
            "id": self.id,
            "layers": blocks,
            "metrics": [{"key": k, "title": t, "help": h} for k, (t, h) in METRICS.items()],
            "selected": self.selected,
        }
        values = [[getattr(m, name) for name in METRICS] for m in self.metrics]
        table = np.array(values, dtype=np.float32).reshape(-1, len(METRICS))  # None becomes nan
        cells = np.concatenate(flat) if flat else np.zeros(0, np.uint8)
        return wire.pack({**header, **display}, {"cells": cells, "values": table})


def grid_payload(
    trace: Trace,
    *,
    selected: tuple[int, int] | None = None,
    size: int = THUMBNAIL,
    item: int = 0,
) -> GridPayload:
    """Every head of every layer: one reading of the weights gives the pictures and the numbers.

    Args:
        selected: (layer, head) to be marked. size: cells along a thumbnail's longer side.
        item: which text of a batch.
    """
    codec = Significant()
    thumbnails: dict[int, np.ndarray] = {}
    metrics: list[HeadMetric] = []
    for index, small, found in survey(trace, size, item):
        codes = codec.encode(small.float().cpu().numpy())
        thumbnails[index] = (codes >> 8).astype(np.uint8)
        metrics.extend(found)
    id = f"{trace_id(trace)}/{size}/{item}"
    titles = tuple(layer_name(trace, layer.index) for layer in trace.layers)
    return GridPayload(trace.layers, titles, thumbnails, tuple(metrics), selected, id)
