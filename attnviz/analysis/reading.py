"""One reading of a layer's weights: every head's thumbnail and what its metrics are sums of.

The weights are computed in tiles of a few rows of a few heads that fit a core's cache, where all
that is asked of them is asked at once; a weight is in memory only once and never read again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.analysis import overviews
from attnviz.analysis.metrics import Means
from attnviz.analysis.positions import Positions, Tile, tokens_of
from attnviz.trace import Trace
from attnviz.trace.compute import CELLS

TILE = 1 << 18  # cells of a tile on a CPU: 1 MB, what a core's second cache holds
ROWS = 64  # of a strip there: of more, a causal map has too many masked cells at the diagonal


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
        reading.thumbnails, reading.metrics()

    ``read`` may run in several threads at once.

    Attributes:
        thumbnails: (H, <= size, <= size): each cell the largest weight of a square.
    """

    def __init__(self, trace: Trace, layer: int, size: int = 64, item: int = 0) -> None:
        about = trace.layers[layer]
        self._held, self._item = trace.layer_record(layer, item), item
        self._side = overviews.side_for(about.n_q, about.n_k, size)
        self.thumbnails = overviews.canvas_for(self._held, self._side)
        self._tokens = tokens_of(trace, layer, item, self.thumbnails.device)
        self._means = Means(self._tokens)

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
        at: Positions | None = None
        group = H // (self._held.kv_heads(slice(0, H)).stop)
        step = max(1, self._tile()[0] // ((rows.stop - rows.start) * (hi - lo)))
        step = step // group * group or 1  # heads that share keys together, or one alone
        squares, sums = [], []
        for h in range(0, H, step):
            heads = slice(h, min(h + step, H))
            w, scores = self._held.weights_and_scores(self._item, heads, rows, lo, hi)  # (h, r, c)
            at = at or Positions(self._tokens, rows, lo, hi, w.dtype, w.device)
            squares.append(overviews.pool(w, self._side))
            sums.append(self._means.measure(Tile(w, at, scores)))
        together = {name: torch.cat([s[name] for s in sums]).double().cpu() for name in sums[0]}
        return Strip(rows, lo, torch.cat(squares), together)

    def add(self, strip: Strip) -> None:
        """Take in a strip that was read."""
        overviews.merge(self.thumbnails, strip.squares, strip.rows, strip.lo, self._side)
        self._means.add(strip.sums)

    def metrics(self) -> list[dict[str, float | None]]:
        """Each head's metrics by name; None where one has no meaning."""
        return self._means.by_head()

    def _tile(self) -> tuple[int, int]:
        """Cells and rows of a tile. Elsewhere than on a CPU the fewer the faster."""
        if self.thumbnails.device.type == "cpu":
            return TILE, ROWS
        return CELLS, CELLS
