"""Whole maps at a glance: all heads of a layer as thumbnails, one head pooled.

Every number is the maximum over a square of cells, so that a single strong weight among thousands
of weak ones stays visible, as it would not in a mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attnviz.trace import Trace, records
from attnviz.trace.pooling import (
    Block,
    blocks,
    empty_map,
    merge,
    pool,
    pool_into,
    square_side,
    strips,
)

Quantity = Literal["weights", "scores"]


@dataclass(frozen=True)
class PooledMap:
    """One head's whole map.

    Attributes:
        cells: (ceil(n_q / side), ceil(n_k / side)) maxima of squares; for scores, -inf where a
            whole square is masked.
        side: cells along one side of a square.
        row_max: (n_q,) maximum of each row. col_max: (n_k,) maximum of each column.
    """

    cells: Tensor
    side: int
    row_max: Tensor
    col_max: Tensor


def thumbnails(trace: Trace, layer: int, size: int = 64, item: int = 0) -> Tensor:
    """(H, <= size, <= size): every head of a layer, each cell the largest weight of a square."""
    record = trace.layer_record(layer, item)
    _, H, n_q, n_k = record.shape
    side = square_side(n_q, n_k, size)
    out = empty_map(record, side)
    for block in blocks(record, slice(0, H), item, side):
        pool_into(out, block, side)
    return out


def pooled_map(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity = "weights",
    size: int = 1024,
    item: int = 0,
) -> PooledMap:
    """One head's whole map with at most ``size`` squares a side.

    Raises:
        AttnVizError: no such layer or head, or one that was refused or hides its scores.
    """
    record = trace.layer_record(layer, item)
    trace.attention(layer, head, item=item)  # raises if there is no such head
    _, _, n_q, n_k = record.shape
    side = square_side(n_q, n_k, size)
    out = empty_map(record, side)[:1]
    if quantity == "scores":
        out.fill_(-torch.inf)
    row_max, col_max = (out.new_full((n,), float(out[0, 0, 0])) for n in (n_q, n_k))
    if quantity == "scores":
        parts = _score_blocks(trace, layer, head, side, item)
    else:
        parts = blocks(record, slice(head, head + 1), item, side)
    for block in parts:
        row_max[block.rows] = block.weights[0].amax(dim=1)
        part = col_max[block.lo : block.hi]
        torch.maximum(part, block.weights[0].amax(dim=0), out=part)
        pool_into(out, block, side)
    return PooledMap(out[0], side, row_max, col_max)


def tile(
    trace: Trace,
    layer: int,
    head: int,
    rows: slice,
    cols: slice,
    side: int = 1,
    quantity: Quantity = "weights",
    item: int = 0,
) -> Tensor:
    """(ceil(r / side), ceil(c / side)): maxima of squares in a part of one head's map.

    Args:
        rows, cols: ranges that start at multiples of ``side``.
        side: cells along one side of a square; with 1 the cells themselves.

    Raises:
        AttnVizError: no such layer or head, or one that was refused or hides its scores.
    """
    a = trace.attention(layer, head, item=item)
    read = a.weights if quantity == "weights" else a.scores
    n_k = a.n_k if quantity == "weights" else cols.stop - cols.start
    n_rows, n_cols = rows.stop - rows.start, cols.stop - cols.start
    out = None
    for strip in strips(n_rows, records.CELLS // max(1, n_k), side):
        cells = read(slice(rows.start + strip.start, rows.start + strip.stop), cols)[None]
        if out is None:
            out = cells.new_full((1, -(-n_rows // side), -(-n_cols // side)), -torch.inf)
        merge(out, pool(cells, side), strip, 0, side)
    assert out is not None
    return out[0]


def _score_blocks(trace: Trace, layer: int, head: int, side: int, item: int) -> Iterator[Block]:
    a = trace.attention(layer, head, item=item)
    for rows in strips(a.n_q, records.CELLS // a.n_k, side):
        yield Block(rows, 0, a.n_k, a.scores(rows)[None])
