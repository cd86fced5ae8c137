"""The attention of one head of one layer, computed on access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnviz.display import Displayable
from attnviz.errors import AttnVizError
from attnviz.models.tokens import Token
from attnviz.trace import pooling
from attnviz.trace.axis_labels import AxisLabels
from attnviz.trace.fidelity import Checks
from attnviz.trace.pooling import Reduce
from attnviz.trace.records import LayerRecord, outputs, row_blocks

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer

_ALL = slice(None)


@dataclass(frozen=True)
class MapOrigin:
    """Where a map comes from, without the trace: a map that is kept keeps one layer in memory.

    Attributes:
        layer: the trace's. checks: of the rows compared while it was recorded.
    """

    layer: AttentionLayer
    labels: AxisLabels
    checks: Checks

    def row_tokens(self, item: int) -> tuple[Token, ...]:
        """The tokens of the queries."""
        return self.labels.of(self.layer.rows, self.layer.n_q, item)

    def col_tokens(self, item: int) -> tuple[Token, ...]:
        """The tokens of the keys."""
        return self.labels.of(self.layer.cols, self.layer.n_k, item)


class AttentionMap(Displayable):
    """A head's attention, lazy and exact: nothing is computed before it is accessed.

        a = trace.attention(layer=3, head=5)
        a.weights(rows=slice(0, 64), cols=slice(0, 64))   # (64, 64), softmax over whole rows

    Rows are queries, columns are keys. Half precision is widened to float32. Tensors are on the
    model's device and must not be written to.

    Attributes:
        head: its number. record: its layer's. item: which text of a batch.
        origin: the trace's layer and its tokens; None for a map of a record alone.
    """

    def __init__(
        self, layer: LayerRecord, head: int, item: int = 0, origin: MapOrigin | None = None
    ) -> None:
        self.head = head
        self.record = layer
        self.item = item
        self.origin = origin
        self._heads = slice(head, head + 1)
        _, _, self.n_q, self.n_k = layer.shape

    @property
    def q(self) -> Tensor:
        """(n_q, d_head): queries as they enter the product (after position encoding)."""
        return self._operand(self.record.q, "queries", self._heads)

    @property
    def k(self) -> Tensor:
        """(n_k, d_head): keys as they enter the product, of the group's key/value head."""
        return self._operand(self.record.k, "keys", self.record.kv_heads(self._heads))

    @property
    def v(self) -> Tensor:
        """(n_k, d_v): values."""
        return self._operand(self.record.v, "values", self.record.kv_heads(self._heads))

    @property
    def scaling(self) -> float | None:
        """The factor on q @ k.T; None where only the weights are known."""
        return self.record.scaling

    def scores(self, rows: slice = _ALL, cols: slice = _ALL) -> Tensor:
        """(r, c): scaled, biased, masked scores; -inf where masked.

        Raises:
            AttnVizError: a dense layer whose scores are unknown, or a head whose weights were set
                by hand.
        """
        r, c = _bounds(rows, self.n_q), _bounds(cols, self.n_k)
        s = self.record.scores(self.item, self._heads, r, c)[0]
        hidden = self.masked(r, c)
        return s if hidden is None else s.masked_fill(hidden, -torch.inf)

    def masked(self, rows: slice = _ALL, cols: slice = _ALL) -> Tensor | None:
        """(r, c), True where a key is masked: it has no weight in a row with a visible key.

        None if no key is, or if that is unknown: the scores of a dense layer may be, and weights
        set by an edit have no mask.
        """
        r, c = _bounds(rows, self.n_q), _bounds(cols, self.n_k)
        parts = []
        for block in _within(r, self.n_k):
            hidden = self.record.masked(self.item, self._heads, block, c)
            if hidden is None:
                return None
            parts.append(hidden[0].expand(block.stop - block.start, -1))
        return torch.cat(parts) if parts else None

    def weights(self, rows: slice = _ALL, cols: slice = _ALL) -> Tensor:
        """(r, c): weights, from the softmax over each whole row."""
        r, c = _bounds(rows, self.n_q), _bounds(cols, self.n_k)
        empty = torch.zeros(0, c.stop - c.start, device=self._device)
        tiles = [self._tile(block, c) for block in _within(r, self.n_k)]
        return tiles[0] if len(tiles) == 1 else torch.cat(tiles or [empty])

    def overview(self, size: int = 512, reduce: Reduce = "max") -> Tensor:
        """(<= size, <= size): all weights, each cell the max or mean of a square of them.

        A square's side is ceil(max(n_q, n_k) / size). The last of a row or column may be smaller;
        its value is exact for the weights it covers.
        """
        side = pooling.square_side(self.n_q, self.n_k, size)
        blocks = pooling.blocks(self.record, self._heads, self.item, side)
        out = pooling.empty_map(self.record, side)[:1]  # (1, R, C)
        if reduce == "max":
            for block in blocks:
                pooling.pool_into(out, block, side)
            return out[0]
        out = out.zero_()
        for block in blocks:
            sums = pooling.pool_sum(block.weights, side)
            part = out[:, block.rows.start // side :, block.lo // side :]
            part[:, : sums.shape[1], : sums.shape[2]] += sums
        return out[0] / pooling.square_sizes(self.n_q, self.n_k, side, out.device)

    def output(self, rows: slice = _ALL) -> Tensor:
        """(n_q, d_v): weights @ V.

        Raises:
            AttnVizError: a dense layer whose values are unknown.
        """
        r = _bounds(rows, self.n_q)
        empty = self.v[:0].float()
        blocks = _within(r, self.n_k)
        parts = [outputs(self.record, self.item, self._heads, b)[0] for b in blocks]
        return torch.cat(parts or [empty])

    @property
    def _device(self) -> torch.device:
        return self.record.device

    def _tile(self, rows: slice, cols: slice) -> Tensor:
        lo, hi = self.record.key_range(self.item, rows)
        w = self.record.weights(self.item, self._heads, rows, lo, hi)[0]
        if (lo, hi) == (0, self.n_k):
            return w[:, cols]
        a, b = max(lo, cols.start), min(hi, cols.stop)
        tile = w.new_zeros(w.shape[0], cols.stop - cols.start)
        if a < b:
            tile[:, a - cols.start : b - cols.start] = w[:, a - lo : b - lo]
        return tile

    def _operand(self, t: Tensor | None, what: str, heads: slice) -> Tensor:
        if t is None:
            raise AttnVizError(
                f"The {what} of this layer are computed inside its module and are not available.",
                "Look at its weights, which the module returns.",
            )
        return t[self.item, heads][0]


def _within(rows: slice, n_k: int) -> list[slice]:
    """``rows`` in blocks of bounded memory."""
    blocks = row_blocks(rows.stop - rows.start, n_k)
    return [slice(rows.start + b.start, rows.start + b.stop) for b in blocks]


def _bounds(s: slice, n: int) -> slice:
    start, stop, step = s.indices(n)
    if step != 1:
        raise AttnVizError(
            "A tile's rows and columns must be ranges.", "Use a slice without a step."
        )
    return slice(start, max(start, stop))
