"""A whole map at a glance: all heads of a layer as thumbnails, one head as a pooled picture.

Weights exist block by block only, so a map of any length is seen in bounded memory. Every picture
is made of maxima over squares of cells, which are exact: a single strong weight among thousands of
weak ones stays visible, as it would not in a mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attnviz.trace import Trace, compute
from attnviz.trace.pooling import (  # noqa: F401 (merge: for analysis.reading)
    Block,
    blocks,
    canvas_for,
    merge,
    pool,
    pool_into,
    side_for,
    strips,
)

Quantity = Literal["weights", "scores"]


@dataclass(frozen=True)
class Picture:
    """One head's map, pooled.

    Attributes:
        cells: (ceil(n_q / side), ceil(n_k / side)) maxima of squares; for scores, -inf where a
            square is masked all over.
        side: cells of the map along one side of a square.
        row_max: (n_q,) the largest of each row. col_max: (n_k,) of each column.
    """

    cells: Tensor
    side: int
    row_max: Tensor
    col_max: Tensor


def thumbnails(trace: Trace, layer: int, size: int = 64, item: int = 0) -> Tensor:
    """(H, <= size, <= size): every head of a layer, each cell the largest weight of a square."""
    held = trace.layer_record(layer, item)
    _, H, n_q, n_k = held.shape
    side = side_for(n_q, n_k, size)
    out = canvas_for(held, side)
    for block in blocks(held, slice(0, H), item, side):
        pool_into(out, block, side)
    return out


def picture(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity = "weights",
    size: int = 1024,
    item: int = 0,
) -> Picture:
    """One head's whole map with at most ``size`` cells a side."""
    held = trace.layer_record(layer, item)
    trace.attention(layer, head, item=item)  # says so if there is no such head
    _, _, n_q, n_k = held.shape
    side = side_for(n_q, n_k, size)
    heads = slice(head, head + 1)
    out = canvas_for(held, side)[:1]
    if quantity == "scores":
        out.fill_(-torch.inf)
    row_max, col_max = (out.new_full((n,), float(out[0, 0, 0])) for n in (n_q, n_k))
    for block in (
        _score_blocks(trace, layer, head, side, item)
        if quantity == "scores"
        else blocks(held, heads, item, side)
    ):
        row_max[block.rows] = block.weights[0].amax(dim=1)
        part = col_max[block.lo : block.hi]
        torch.maximum(part, block.weights[0].amax(dim=0), out=part)
        pool_into(out, block, side)
    return Picture(out[0], side, row_max, col_max)


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
    """Part of one head's map: (ceil(r / side), ceil(c / side)) maxima, the cells where side is 1.

    Args:
        rows, cols: with a start that is a multiple of ``side``.
    """
    a = trace.attention(layer, head, item=item)
    read = a.weights if quantity == "weights" else a.scores
    n_k = a.n_k if quantity == "weights" else cols.stop - cols.start
    parts = []
    for strip in strips(rows.stop - rows.start, compute.CELLS // max(1, n_k), side):
        cells = read(slice(rows.start + strip.start, rows.start + strip.stop), cols)
        parts.append((strip.start // side, pool(cells[None], side)[0]))
    out = parts[0][1].new_full(
        (-(-(rows.stop - rows.start) // side), parts[0][1].shape[1]), -torch.inf
    )
    for i, pooled in parts:
        part = out[i : i + len(pooled)]
        torch.maximum(part, pooled, out=part)
    return out


def _score_blocks(trace: Trace, layer: int, head: int, side: int, item: int) -> Iterator[Block]:
    a = trace.attention(layer, head, item=item)
    for rows in strips(a.n_q, compute.CELLS // a.n_k, side):
        yield Block(rows, 0, a.n_k, a.scores(rows)[None])
