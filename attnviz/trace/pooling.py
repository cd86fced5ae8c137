"""Maps of any length in bounded memory: weights in blocks of rows, pooled over squares of cells.

The maximum of a square is exact: a single strong weight among thousands of weak ones stays visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from attnviz.trace import records
from attnviz.trace.records import LayerRecord, QKVRecord

Reduce = Literal["max", "mean"]


@dataclass(frozen=True)
class Block:
    """Some rows of some heads, with the keys outside of which their weights are 0.

    Attributes:
        rows: the queries. lo, hi: the keys, from lo to hi - 1.
        weights: (h, r, hi - lo).
    """

    rows: slice
    lo: int
    hi: int
    weights: Tensor


def blocks(layer: LayerRecord, heads: slice, item: int = 0, side: int = 1) -> Iterator[Block]:
    """A layer's weights from the first row to the last, in bounded memory.

    Args:
        side: a block starts at whole squares of this side, and ends where a square ends or within
            one row of squares.
    """
    _, _, n_q, n_k = layer.shape
    for rows in strips(n_q, records.CELLS // (n_k * (heads.stop - heads.start)), side):
        lo, hi = layer.key_range(item, rows)
        lo = lo // side * side
        yield Block(rows, lo, hi, layer.weights(item, heads, rows, lo, hi))


def strips(n: int, step: int, side: int) -> Iterator[slice]:
    """Rows in strips of about ``step``, which end where squares end if possible."""
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


def square_side(n_q: int, n_k: int, size: int) -> int:
    """The side of the squares of which at most ``size`` fit along either edge."""
    return max(1, -(-max(n_q, n_k) // size))


def empty_map(layer: LayerRecord, side: int) -> Tensor:
    """(H, R, C) for ``pool_into``, filled with the maximum of no weight."""
    _, H, n_q, n_k = layer.shape
    fill = -torch.inf if layer.signed else 0.0  # keys outside of every block have weight 0
    return torch.full((H, -(-n_q // side), -(-n_k // side)), fill, device=layer.device)


def pool_into(out: Tensor, block: Block, side: int) -> None:
    """The block's maxima into (H, R, C) ``out``, in place."""
    merge(out, pool(block.weights, side), block.rows, block.lo, side)


def merge(out: Tensor, squares: Tensor, rows: slice, lo: int, side: int) -> None:
    """Maxima (H, R', C') of these rows, from key ``lo`` on, into (H, R, C) ``out``, in place."""
    i, j = rows.start // side, lo // side
    part = out[:, i : i + squares.shape[1], j : j + squares.shape[2]]
    torch.maximum(part, squares, out=part)


def pool(cells: Tensor, side: int) -> Tensor:
    """(h, ceil(r / side), ceil(c / side)) maxima of squares of (h, r, c) cells."""
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


def masked_squares(
    layer: LayerRecord, heads: slice, rows: slice, cols: slice, side: int, item: int = 0
) -> Tensor | None:
    """(h or 1, R, C), True where every cell of a square is masked; None if no mask is known.

    Args:
        rows, cols: ranges that start at multiples of ``side``.
    """
    seen = _seen_columns(layer, heads, rows, cols, side, item)
    if seen is None:
        return None
    return ~F.pad(seen, (0, 0, 0, -seen.shape[1] % side)).unflatten(1, (-1, side)).any(dim=2)


def _seen_columns(
    layer: LayerRecord, heads: slice, rows: slice, cols: slice, side: int, item: int
) -> Tensor | None:
    """(h or 1, r, C), True where a query sees one of a square's keys; None if no mask is known."""
    _, _, n_q, n_k = layer.shape
    if isinstance(layer, QKVRecord) and layer.modifiers.masks_are_hard:
        ranges = layer.modifiers.visible_ranges(item, n_q, n_k)
        if ranges is not None:  # each query sees one range of keys: no cell needs to be looked at
            first = torch.arange(cols.start, cols.stop, side)
            lo, hi = (ends[rows, None] for ends in ranges)
            return ((lo < (first + side).clamp(max=cols.stop)) & (hi > first) & (lo < hi))[None]
    seen = []
    for strip in records.row_blocks(rows.stop - rows.start, n_k, heads.stop - heads.start):
        own = slice(rows.start + strip.start, rows.start + strip.stop)
        hidden = layer.masked(item, heads, own, cols)
        if hidden is None:
            return None
        visible = ~hidden.expand(-1, strip.stop - strip.start, -1)
        seen.append(F.pad(visible, (0, -visible.shape[2] % side)).unflatten(2, (-1, side)).any(3))
    return torch.cat(seen, dim=1).cpu()


def pool_sum(cells: Tensor, side: int) -> Tensor:
    """(h, ceil(r / side), ceil(c / side)) sums of squares of (h, r, c) cells."""
    _, r, c = cells.shape
    padded = F.pad(cells, (0, -c % side, 0, -r % side))
    rows = padded.unflatten(2, (-1, side)).sum(dim=3)  # (h, r, C)
    return rows.unflatten(1, (-1, side)).sum(dim=2)  # (h, R, C)


def square_sizes(n_q: int, n_k: int, side: int, device: torch.device) -> Tensor:
    """(R, C): how many cells each square has; the last of a row or column may have fewer."""

    def lengths(n: int) -> Tensor:
        starts = torch.arange(0, n, side, device=device)
        return (torch.clamp(starts + side, max=n) - starts).float()

    return lengths(n_q)[:, None] * lengths(n_k)[None, :]
