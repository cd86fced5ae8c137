"""One reading of a layer's weights: every head's thumbnail and what its metrics are sums of.

The weights are computed in tiles of a few rows of a few heads that fit a core's cache, where all
that is asked of them is asked at once; a weight is in memory only once and never read again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.analysis import overviews
from attnviz.trace import Trace
from attnviz.trace.compute import CELLS

TILE = 1 << 18  # cells of a tile on a CPU: 1 MB, what a core's second cache holds
ROWS = 64  # of a strip there: of more, a causal map has too many masked cells at the diagonal

_LEAST = 1e-38  # float32's smallest normal number: 0 · log 0 counts as 0


@dataclass(frozen=True)
class Strip:
    """What some rows of all heads show.

    Attributes:
        rows: the queries. lo: the first key that was looked at.
        squares: (H, R', C') maxima of squares. sums: (H,) float64 each, over the rows.
    """

    rows: slice
    lo: int
    squares: Tensor
    sums: dict[str, Tensor]


class Reading:
    """A layer's heads, strip after strip.

        reading = Reading(trace, layer=3)
        for strip in map(reading.read, reading.strips()):
            reading.add(strip)
        reading.thumbnails, reading.means()

    ``read`` may run in several threads at once.

    Attributes:
        thumbnails: (H, <= size, <= size): each cell the largest weight of a square.
    """

    def __init__(self, trace: Trace, layer: int, size: int = 64, item: int = 0) -> None:
        about = trace.layers[layer]
        self._held, self._item = trace.recorded(layer, item), item
        self._own = about.kind != "cross"  # queries and keys are the same tokens
        self._offset = about.n_k - about.n_q
        self._side = overviews.side_for(about.n_q, about.n_k, size)
        self.thumbnails = overviews.canvas_for(self._held, self._side)
        self._sums: dict[str, Tensor] = {}
        before = about.n_q if self._offset > 0 else about.n_q + self._offset - 1
        repeats = 0
        self._ids = self._followed = None
        ids = [token.id for token in trace.col_tokens(layer, item)]
        if self._own and self._offset >= 0 and len(set(ids)) < len(ids) and min(ids) >= 0:
            first = {id: j for j, id in reversed(list(enumerate(ids)))}
            repeats = sum(first[id] < j for j, id in list(enumerate(ids))[self._offset :])
            self._ids = torch.tensor(ids, device=self.thumbnails.device)
            # the token before each key; before the first there is none
            self._followed = torch.cat([self._ids.new_tensor([-1]), self._ids[:-1]])
        # what these are means over: rows with a token before them, rows whose token came before
        self._rows = {"previous": max(0, before), "induction": repeats}

    def strips(self) -> list[slice]:
        """The rows in strips, the longest rows of a causal map first."""
        _, _, n_q, n_k = self._held.shape
        cells, most = self._tile()
        return list(overviews.strips(n_q, min(most, cells // n_k), self._side))[::-1]

    def read(self, rows: slice) -> Strip:
        """What a strip's rows show."""
        _, H, _, _ = self._held.shape
        lo, hi = self._held.key_range(self._item, rows)
        lo = lo // self._side * self._side  # whole squares
        tables: dict[str, Tensor] | None = None
        group = H // (self._held.kv_heads(slice(0, H)).stop)
        step = max(1, self._tile()[0] // ((rows.stop - rows.start) * (hi - lo)))
        step = step // group * group or 1  # heads that share keys together, or one alone
        squares, sums = [], []
        for h in range(0, H, step):
            heads = slice(h, min(h + step, H))
            w = self._held.weights(self._item, heads, rows, lo, hi)  # (h, r, c)
            tables = self._tables(rows, lo, hi, w.dtype) if tables is None else tables
            squares.append(overviews.pool(w, self._side))
            sums.append(self._sums_of(w, rows.start + self._offset - lo, lo, tables))
        together = {name: torch.cat([s[name] for s in sums]).double().cpu() for name in sums[0]}
        return Strip(rows, lo, torch.cat(squares), together)

    def add(self, strip: Strip) -> None:
        """Take in a strip that was read."""
        overviews.merge(self.thumbnails, strip.squares, strip.rows, strip.lo, self._side)
        for name, values in strip.sums.items():
            self._sums[name] = self._sums[name] + values if name in self._sums else values

    def means(self) -> dict[str, list[float]]:
        """Each metric of every head, where it has a meaning."""
        n_q = self._held.shape[2]
        rows = {name: self._rows.get(name, n_q) for name in self._sums}
        return {name: (self._sums[name] / rows[name]).tolist() for name in rows if rows[name]}

    def _tile(self) -> tuple[int, int]:
        """Cells and rows of a tile. Elsewhere than on a CPU the fewer the faster."""
        if self.thumbnails.device.type == "cpu":
            return TILE, ROWS
        return CELLS, CELLS

    def _tables(self, rows: slice, lo: int, hi: int, dtype: torch.dtype) -> dict[str, Tensor]:
        """(r * c,) each: what the weights of a strip are multiplied with, for all heads alike."""
        if not self._own:
            return {}
        device = self.thumbnails.device
        p = torch.arange(rows.start, rows.stop, device=device) + self._offset
        j = torch.arange(lo, hi, device=device)
        tables = {"distance": (p.to(dtype)[:, None] - j.to(dtype)).abs_().view(-1)}
        if self._ids is not None and self._followed is not None:
            same = self._ids[p][:, None] == self._followed[lo:hi]
            same = same.tril_(rows.start + self._offset - lo)  # keys up to the query
            tables["induction"] = same.to(dtype).view(-1)
        return tables

    def _sums_of(
        self, w: Tensor, diagonal: int, lo: int, tables: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """(h,) each, over the rows of a tile (h, r, c). diagonal: the column of its first row."""
        flat = w.reshape(len(w), -1)  # (h, r * c)
        sums = {name: flat @ table for name, table in tables.items()}
        sums["entropy"] = row_entropy(w).sum(dim=1)
        sums["max_weight"] = w.amax(dim=2).sum(dim=1)
        sums["first"] = w[:, :, 0].sum(dim=1) if lo == 0 else w.new_zeros(len(w))
        if self._own:
            sums["itself"] = _diagonal(w, diagonal)
            sums["previous"] = _diagonal(w, diagonal - 1)
        return sums


def row_entropy(w: Tensor) -> Tensor:
    """(h, r): -Σ_j w[j] log2 w[j] of rows of weights, in bits."""
    logs = w.clamp_min(_LEAST).log_()
    return logs.mul_(w).sum(dim=2).div_(-math.log(2)).clamp_min_(0.0)


def _diagonal(w: Tensor, offset: int) -> Tensor:
    """(h,): the sum of w[h, i, i + offset] over the rows i that have it."""
    return w.diagonal(offset, dim1=1, dim2=2).sum(dim=1)
