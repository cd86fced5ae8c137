"""The input of a metric: a tile of weights or one query's row, with positions and tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attnviz.trace import Trace

_TINY = 1e-38  # float32's smallest normal number
_NO_WEIGHT = -1e4  # exp of it is 0 in every format


@dataclass(frozen=True)
class Tokens:
    """A layer's queries and keys.

    Attributes:
        aligned: whether queries and keys are the same tokens, so that queries have positions
            among the keys; not in cross-attention.
        ids: (n_k,) token ids of the keys; None where no token is repeated, or ids are unknown.
        n_repeats: number of queries whose token occurred before.
    """

    n_q: int
    n_k: int
    aligned: bool
    ids: Tensor | None = None
    n_repeats: int = 0

    @property
    def offset(self) -> int:
        """p(i) - i."""
        return self.n_k - self.n_q

    @cached_property
    def followed(self) -> Tensor | None:
        """(n_k,) id of the token before each key; -1 for the first."""
        if self.ids is None:
            return None
        return torch.cat([self.ids.new_tensor([-1]), self.ids[:-1]])

    # The number of rows that a metric is the mean over: ``rows=`` of ``metric``.

    def every(self) -> int:
        """All rows."""
        return self.n_q

    def own(self) -> int:
        """All rows, if they have positions among the keys."""
        return self.n_q if self.aligned else 0

    def later(self) -> int:
        """Rows i with p(i) > 0."""
        before = self.n_q if self.offset > 0 else self.n_q + self.offset - 1
        return max(0, before) if self.aligned else 0

    def repeated(self) -> int:
        """Rows whose token occurred before."""
        return self.n_repeats


@dataclass(frozen=True)
class Positions:
    """Positions of a tile (h, r, c). What several metrics need is computed once.

    Attributes:
        rows: the queries. lo, hi: the keys, from lo to hi - 1. dtype, device: of the weights.
    """

    tokens: Tokens
    rows: slice
    lo: int
    hi: int
    dtype: torch.dtype
    device: torch.device

    @property
    def diagonal(self) -> int:
        """The column of p(i) in the tile's first row; one more in each row below."""
        return self.rows.start + self.tokens.offset - self.lo

    @cached_property
    def distances(self) -> Tensor:
        """(r * c,) |p(i) - j|."""
        start, stop = (i + self.tokens.offset for i in (self.rows.start, self.rows.stop))
        p = torch.arange(start, stop, device=self.device).to(self.dtype)
        j = torch.arange(self.lo, self.hi, device=self.device).to(self.dtype)
        return (p[:, None] - j).abs_().view(-1)

    @cached_property
    def follows(self) -> Tensor:
        """(r * c,) 1 at keys j <= p(i) that follow an earlier occurrence of token i, else 0."""
        ids, followed = self.tokens.ids, self.tokens.followed
        assert ids is not None and followed is not None
        start, stop = (i + self.tokens.offset for i in (self.rows.start, self.rows.stop))
        same = ids[start:stop, None] == followed[self.lo : self.hi]
        return same.tril_(self.diagonal).to(self.dtype).view(-1)


@dataclass(frozen=True)
class Tile:
    """Weights of some rows of some heads. What several metrics need is computed once.

    Attributes:
        w: (h, r, c) weights; 0 at all keys outside.
        at: their positions.
        scores: (h, r, c), of which w is the softmax; None if unknown. ``row_entropy`` overwrites
            them.
    """

    w: Tensor
    at: Positions
    scores: Tensor | None = None

    @cached_property
    def row_max(self) -> Tensor:
        """(h, r): the largest weight of each row."""
        return self.w.amax(dim=2)

    @cached_property
    def row_entropy(self) -> Tensor:
        """(h, r): -Σ_j w[j] log2 w[j], in bits; 0 log 0 is 0."""
        return row_entropy(self.w, self.scores, self.row_max)


@dataclass(frozen=True)
class Row:
    """One query of a head, for the definition of a metric.

    Attributes:
        w: (n_k,) float64 weights on all keys; 0 where masked.
        i: the query, counted from 0.
    """

    w: Tensor
    i: int
    tokens: Tokens

    @property
    def p(self) -> int:
        """The query's position among the keys.

        Raises:
            TypeError: in cross-attention, whose queries have none.
        """
        if not self.tokens.aligned:
            raise TypeError(
                "A query of cross-attention has no position among the keys. "
                "Register the metric with rows=Tokens.own: it is then undefined there."
            )
        return self.i + self.tokens.offset

    @property
    def keys(self) -> Tensor:
        """(n_k,) float64 positions of the keys: 0, 1, 2, ..."""
        return torch.arange(len(self.w), dtype=self.w.dtype)

    @property
    def ids(self) -> Tensor:
        """(n_k,) token ids of the keys, where some token is repeated."""
        assert self.tokens.ids is not None
        return self.tokens.ids


def row_entropy(w: Tensor, scores: Tensor | None = None, row_max: Tensor | None = None) -> Tensor:
    """(h, r): -Σ_j w[j] log2 w[j] of rows of weights, in bits; 0 log 0 is 0.

    Args:
        scores: (h, r, c), of which w is the softmax; overwritten. With them it takes one logarithm
            per row instead of one per cell.
        row_max: (h, r) maxima of w; required with scores.
    """
    if scores is None or row_max is None:
        nats = -torch.linalg.vecdot(w, w.clamp_min(_TINY).log_())
    else:  # log w[j] = scores[j] - max scores + log max w
        top = scores.amax(dim=2, keepdim=True)
        top.masked_fill_(top == -torch.inf, 0.0)  # a row without a visible key
        below = scores.sub_(top).clamp_min_(_NO_WEIGHT)  # 0 * -inf would be NaN
        nats = -torch.linalg.vecdot(w, below) - w.sum(dim=2) * row_max.clamp_min(_TINY).log()
    return nats.div_(math.log(2)).clamp_min_(0.0)


def layer_tokens(trace: Trace, layer: int, item: int, device: torch.device) -> Tokens:
    """A layer's queries and keys, with ids if some token is repeated."""
    info = trace.layers[layer]
    aligned = info.kind != "cross"
    n_q, n_k = info.n_q, info.n_k
    ids = [token.id for token in trace.col_tokens(layer, item)]
    if not aligned or n_k < n_q or len(set(ids)) == len(ids) or min(ids) < 0:
        return Tokens(n_q, n_k, aligned)
    earliest = {id: j for j, id in reversed(list(enumerate(ids)))}
    n_repeats = sum(earliest[id] < j for j, id in list(enumerate(ids))[n_k - n_q :])
    return Tokens(n_q, n_k, aligned, torch.tensor(ids, device=device), n_repeats)
