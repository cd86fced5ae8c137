"""One pass over a layer's weights: thumbnails and metrics of all its heads.

Weights are computed in tiles, a few rows of a few heads that fit a core's cache. Everything that
needs a tile is computed while it is there, so each weight is in memory once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.analysis.metrics import Means
from attnviz.analysis.positions import Positions, Tile, layer_tokens
from attnviz.trace import Trace, pooling
from attnviz.trace.records import CELLS

TILE_CELLS = 1 << 18  # of a tile on a CPU: 1 MB, the size of a core's L2 cache
STRIP_ROWS = 64  # on a CPU: with more, a causal map has too many masked cells at the diagonal


@dataclass(frozen=True)
class Strip:
    """Some rows of all heads, summarized.

    Attributes:
        rows: the queries. lo: the first key that was computed.
        squares: (H, R', C') maxima of squares. sums: by metric, (H,) float64 sums over the rows.
    """

    rows: slice
    lo: int
    squares: Tensor
    sums: dict[str, Tensor]


class LayerPass:
    """A pass over all heads of a layer, strip by strip.

        layer_pass = LayerPass(trace, layer=3)
        for strip in map(layer_pass.compute, layer_pass.strips()):
            layer_pass.add(strip)
        layer_pass.thumbnails, layer_pass.metrics()

    ``compute`` is safe to call from several threads at once.

    Attributes:
        thumbnails: (H, <= size, <= size): each cell the maximum of a square.
    """

    def __init__(self, trace: Trace, layer: int, size: int = 64, item: int = 0) -> None:
        shape = trace.layers[layer]
        self._record, self._item = trace.layer_record(layer, item), item
        self._side = pooling.square_side(shape.n_q, shape.n_k, size)
        self.thumbnails = pooling.empty_map(self._record, self._side)
        self._tokens = layer_tokens(trace, layer, item, self.thumbnails.device)
        self._means = Means(self._tokens)

    def strips(self) -> list[slice]:
        """The rows in strips, the longest rows of a causal map first."""
        _, _, n_q, n_k = self._record.shape
        max_cells, max_rows = self._tile_limits()
        return list(pooling.strips(n_q, min(max_rows, max_cells // n_k), self._side))[::-1]

    def compute(self, rows: slice) -> Strip:
        """Maxima and metric sums of one strip."""
        _, H, _, _ = self._record.shape
        lo, hi = self._record.key_range(self._item, rows)
        lo = lo // self._side * self._side  # whole squares
        positions: Positions | None = None
        group = H // (self._record.kv_heads(slice(0, H)).stop)
        step = max(1, self._tile_limits()[0] // ((rows.stop - rows.start) * (hi - lo)))
        step = step // group * group or 1  # heads that share keys together, or one alone
        squares, sums = [], []
        for h in range(0, H, step):
            heads = slice(h, min(h + step, H))
            # (h, r, c) each
            w, scores = self._record.weights_and_scores(self._item, heads, rows, lo, hi)
            positions = positions or Positions(self._tokens, rows, lo, hi, w.dtype, w.device)
            squares.append(pooling.pool(w, self._side))
            sums.append(self._means.measure(Tile(w, positions, scores)))
        all_heads = {name: torch.cat([s[name] for s in sums]).double().cpu() for name in sums[0]}
        return Strip(rows, lo, torch.cat(squares), all_heads)

    def add(self, strip: Strip) -> None:
        """Merge a computed strip into the thumbnails and the metrics."""
        pooling.merge(self.thumbnails, strip.squares, strip.rows, strip.lo, self._side)
        self._means.add(strip.sums)

    def metrics(self) -> list[dict[str, float | None]]:
        """Each head's metrics by name; None where a metric is undefined."""
        return self._means.by_head()

    def _tile_limits(self) -> tuple[int, int]:
        """Cells and rows of a tile. On a GPU, the fewer tiles the faster."""
        if self.thumbnails.device.type == "cpu":
            return TILE_CELLS, STRIP_ROWS
        return CELLS, CELLS
