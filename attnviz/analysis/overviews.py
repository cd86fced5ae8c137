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
import torch.nn.functional as F
from torch import Tensor

from attnviz.trace import Trace
from attnviz.trace.compute import CELLS, LayerRecord

Quantity = Literal["weights", "scores"]


@dataclass(frozen=True)
class Block:
    """Some rows of some heads, with the keys outside of which their weights are 0.

    Attributes:
        rows: the queries. lo, hi: the keys.
        weights: (h, r, hi - lo).
    """

    rows: slice
    lo: int
    hi: int
    weights: Tensor


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


def blocks(layer: LayerRecord, heads: slice, item: int = 0, side: int = 1) -> Iterator[Block]:
    """A layer's weights from the first row to the last, in bounded memory.

    Args:
        side: a block ends where a square of this side ends, or lies within one row of squares.
    """
    _, _, n_q, n_k = layer.shape
    for rows in strips(n_q, CELLS // (n_k * (heads.stop - heads.start)), side):
        lo, hi = layer.key_range(item, rows)
        lo = lo // side * side  # whole squares
        yield Block(rows, lo, hi, layer.weights(item, heads, rows, lo, hi))


def thumbnails(trace: Trace, layer: int, size: int = 64, item: int = 0) -> Tensor:
    """(H, <= size, <= size): every head of a layer, each cell the largest weight of a square."""
    held = trace.layer_record(layer, item)
    _, H, n_q, n_k = held.shape
    side = side_for(n_q, n_k, size)
    out = canvas_for(held, side)
    for block in blocks(held, slice(0, H), item, side):
        pool_into(out, block, side)
    return out


def side_for(n_q: int, n_k: int, size: int) -> int:
    """The side of the squares that leave at most ``size`` of them along either edge."""
    return max(1, -(-max(n_q, n_k) // size))


def canvas_for(layer: LayerRecord, side: int) -> Tensor:
    """(H, R, C) for ``pool_into``: what is the largest of no weight."""
    _, H, n_q, n_k = layer.shape
    held = layer.q if layer.q is not None else layer.values  # type: ignore[union-attr]
    none = -torch.inf if layer.signed else 0.0  # keys that no block has weigh 0
    return torch.full((H, -(-n_q // side), -(-n_k // side)), none, device=held.device)


def pool_into(out: Tensor, block: Block, side: int) -> None:
    """The block's maxima into (H, R, C) ``out``, in place."""
    merge(out, pool(block.weights, side), block.rows, block.lo, side)


def merge(out: Tensor, squares: Tensor, rows: slice, lo: int, side: int) -> None:
    """Squares (H, R', C') of these rows, from key ``lo`` on, into (H, R, C) ``out``, in place."""
    i, j = rows.start // side, lo // side
    part = out[:, i : i + squares.shape[1], j : j + squares.shape[2]]
    torch.maximum(part, squares, out=part)


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
    for strip in strips(rows.stop - rows.start, CELLS // max(1, n_k), side):
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
    for rows in strips(a.n_q, CELLS // a.n_k, side):
        yield Block(rows, 0, a.n_k, a.scores(rows)[None])


def strips(n: int, step: int, side: int) -> Iterator[slice]:
    """Rows in strips of about ``step``, none of which ends inside a square unless it must."""
    step = max(1, step)
    if step >= side:
        step = step // side * side
    start = 0
    while start < n:
        stop = min(start + step, n)
        if step < side:
            stop = min(stop, (start // side + 1) * side)
        yield slice(start, stop)
        start = stop


def pool(cells: Tensor, side: int) -> Tensor:
    """(h, ceil(r / side), ceil(c / side)) maxima of squares."""
    if side == 1:
        return cells
    _, r, c = cells.shape
    whole = r // side * side
    parts = [cells[:, :whole].unflatten(1, (-1, side)).amax(dim=2)] if whole else []
    if whole < r:
        parts.append(cells[:, whole:].amax(dim=1, keepdim=True))
    down = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]  # (h, R, c)
    if c % side:
        down = F.pad(down, (0, -c % side), value=-torch.inf)
    return down.unflatten(2, (-1, side)).amax(dim=3)  # (h, R, C)
