"""The strong weights of a layer one by one, as edges from queries to keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from attnviz.analysis.export import csv_text, npz_bytes, row_labels
from attnviz.trace import Trace
from attnviz.trace.pooling import blocks

MAX_EDGES = 1 << 20


@dataclass(frozen=True)
class Edges:
    """The weights of some heads from a floor up, by head, then query, then key.

    Attributes:
        head, query, key: (E,) int64. weight: (E,) float32.
        floor: every weight above it is here; higher than requested if there were too many edges.
        row_names, col_names: of all queries and keys.
    """

    head: np.ndarray
    query: np.ndarray
    key: np.ndarray
    weight: np.ndarray
    floor: float
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]

    def csv(self) -> str:
        """One line per edge."""
        columns = (self.head.tolist(), self.query.tolist(), self.key.tolist(), self.weight)
        return csv_text(
            ["head", "query", "key", "weight"],
            (
                [head, self.row_names[i], self.col_names[j], f"{weight:.9g}"]
                for head, i, j, weight in zip(*columns, strict=True)
            ),
        )

    def npz(self) -> bytes:
        """For ``numpy.load``: ``head``, ``query``, ``key``, ``weight``, ``rows``, ``cols``."""
        return npz_bytes(
            head=self.head,
            query=self.query,
            key=self.key,
            weight=self.weight,
            rows=np.array(self.row_names),
            cols=np.array(self.col_names),
        )


def strong_edges(
    trace: Trace,
    layer: int,
    heads: Sequence[int] | None = None,
    floor: float = 0.01,
    *,
    max_edges: int = MAX_EDGES,
    item: int = 0,
) -> Edges:
    """All weights of some heads from ``floor`` up; of too many, the largest.

    Args:
        heads: by default all heads of the layer.
        max_edges: the floor rises until at most so many are left.
        item: which text of a batch.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    trace.attention(layer, 0, item=item)  # raises if there is no such layer
    record = trace.layer_record(layer, item)
    parts = []
    for h in range(record.shape[1]) if heads is None else heads:
        trace.attention(layer, h, item=item)
        for block in blocks(record, slice(h, h + 1), item):
            w = block.weights[0]  # (r, c)
            i, j = torch.nonzero(w >= floor, as_tuple=True)
            columns = (torch.full_like(i, h), i + block.rows.start, j + block.lo, w[i, j])
            parts.append([column.cpu().numpy() for column in columns])
    head, query, key, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    weight = weight.astype(np.float32, copy=False)
    if len(weight) > max_edges:
        floor = float(np.partition(weight, len(weight) - max_edges)[len(weight) - max_edges])
        kept = weight > floor
        ties = np.flatnonzero(weight == floor)
        kept[ties[: max_edges - int(kept.sum())]] = True
        head, query, key, weight = head[kept], query[kept], key[kept], weight[kept]
    rows = row_labels(trace.row_tokens(layer, item))
    cols = row_labels(trace.col_tokens(layer, item))
    return Edges(head, query, key, weight, floor, rows, cols)
