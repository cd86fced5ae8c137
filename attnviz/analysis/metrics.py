"""Head metrics: what a head does, one number each. A metric is one registered function.

    @metric("backward", title="Looks back", help="mean weight on earlier keys", unit="0 to 1",
            rows=Tokens.own, uniform="(n - 1) / 2n in full attention")
    def backward(w: Tensor, at: Positions) -> Tensor:
        \"""mean over i of Σ_j w[i, j] over j < p(i)\"""
        return w.tril(at.diagonal - 1).sum(dim=(1, 2))

The grid, its sort list, the CSV file, ``HeadMetric`` and docs/metrics.md follow from this alone;
the tests require a reference in tests/unit/analysis/test_metrics.py. The function gets the weights
of some rows of some heads and returns their sums over these rows; the metric is the mean over the
rows that count. It must be thread-safe and must not modify the weights.

``w[i, j]`` is the weight of query i on key j; ``p(i)`` is the position of query i among the keys,
``i + n_k - n_q`` where a text was continued.

The table in docs: ``python -m attnviz.analysis.metrics > docs/metrics.md``
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from attnviz.trace import Trace

_LEAST = 1e-38  # float32's smallest normal number: 0 · log 0 counts as 0


@dataclass(frozen=True)
class Tokens:
    """A layer's queries and keys.

    Attributes:
        aligned: whether queries and keys are the same tokens, so that queries have positions
            among the keys; not in cross-attention.
        ids: (n_k,) the keys' token ids; None where no token comes twice, or ids are unknown.
        n_repeats: how many queries' tokens came before.
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
        """(n_k,) the id of the token before each key; -1 for the first."""
        if self.ids is None:
            return None
        return torch.cat([self.ids.new_tensor([-1]), self.ids[:-1]])

    # Which rows a metric is the mean over: ``rows=`` of ``metric``.

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
        """Rows whose token came before."""
        return self.n_repeats


@dataclass(frozen=True)
class Positions:
    """Where some rows of weights (h, r, c) stand; what metrics share is computed once.

    Attributes:
        rows: the queries. lo, hi: the keys, from lo to hi - 1. dtype, device: the weights'.
    """

    tokens: Tokens
    rows: slice
    lo: int
    hi: int
    dtype: torch.dtype
    device: torch.device

    @property
    def diagonal(self) -> int:
        """The column of p(i) in the first row; one more in each row below."""
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


Measure = Callable[[Tensor, Positions], Tensor]


@dataclass(frozen=True)
class Metric:
    """One number of a head.

    Attributes:
        name: in code and files. title: to a reader. help: what it says, in a few words.
        unit: of the number; "0 to 1" for a share of the attention.
        measure: (h, r, c) weights and their positions -> (h,) sums over the rows.
        rows: how many of a layer's rows count; with none the metric has no meaning there.
        uniform: in words, its baseline: what uniform attention over the visible keys gives. The
            number is ``heads.baselines``.
    """

    name: str
    title: str
    help: str
    unit: str
    measure: Measure
    rows: Callable[[Tokens], int]
    uniform: str

    @property
    def formula(self) -> str:
        """The function's docstring, on one line."""
        return " ".join((inspect.getdoc(self.measure) or "").split())


# By name, in the order of the choices on screen.
METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    title: str,
    help: str,
    unit: str,
    uniform: str,
    rows: Callable[[Tokens], int] = Tokens.every,
) -> Callable[[Measure], Measure]:
    """Register a function as a metric; see ``Metric`` for the arguments.

    Raises:
        ValueError: the name is taken.
    """

    def register(measure: Measure) -> Measure:
        if name in METRICS:
            raise ValueError(f"There is a metric {name!r} already.")
        METRICS[name] = Metric(name, title, help, unit, measure, rows, uniform)
        return measure

    return register


@metric(
    "entropy",
    title="Entropy",
    help="0 looks at one key, more spreads out",
    unit="bits",
    uniform="mean of log2 of the number of visible keys",
)
def entropy(w: Tensor, at: Positions) -> Tensor:
    """mean over i of -Σ_j w[i, j] log2 w[i, j]"""
    return row_entropy(w).sum(dim=1)


@metric(
    "distance",
    title="Distance",
    help="between a query and what it looks at",
    unit="tokens",
    rows=Tokens.own,
    uniform="mean distance to the visible keys",
)
def distance(w: Tensor, at: Positions) -> Tensor:
    """mean over i of Σ_j w[i, j] |p(i) - j|"""
    return w.reshape(len(w), -1) @ at.distances


@metric(
    "first",
    title="To the first token",
    help="mean weight on key 0",
    unit="0 to 1",
    uniform="mean of 1 / visible keys over the rows that see key 0",
)
def first(w: Tensor, at: Positions) -> Tensor:
    """mean over i of w[i, 0]"""
    return w[:, :, 0].sum(dim=1) if at.lo == 0 else w.new_zeros(len(w))


@metric(
    "itself",
    title="To itself",
    help="mean weight on the query's own position",
    unit="0 to 1",
    rows=Tokens.own,
    uniform="mean of 1 / visible keys",
)
def itself(w: Tensor, at: Positions) -> Tensor:
    """mean over i of w[i, p(i)]"""
    return _diagonal(w, at.diagonal)


@metric(
    "previous",
    title="To the previous token",
    help="mean weight on the position before",
    unit="0 to 1",
    rows=Tokens.later,
    uniform="mean of 1 / visible keys over these rows",
)
def previous(w: Tensor, at: Positions) -> Tensor:
    """mean over i with p(i) > 0 of w[i, p(i) - 1]"""
    return _diagonal(w, at.diagonal - 1)


@metric(
    "max_weight",
    title="Largest weight",
    help="mean over rows of the row's largest weight",
    unit="0 to 1",
    uniform="mean of 1 / visible keys",
)
def max_weight(w: Tensor, at: Positions) -> Tensor:
    """mean over i of max_j w[i, j]"""
    return w.amax(dim=2).sum(dim=1)


@metric(
    "induction",
    title="Induction",
    help="mean weight on what followed the same token before",
    unit="0 to 1",
    rows=Tokens.repeated,
    uniform="mean share of such keys among the visible keys",
)
def induction(w: Tensor, at: Positions) -> Tensor:
    """mean of Σ_j w[i, j] over the keys j <= p(i) that follow an earlier occurrence of token i,
    over the rows i that have one (Olsson et al. 2022)"""
    return w.reshape(len(w), -1) @ at.follows


def row_entropy(w: Tensor) -> Tensor:
    """(h, r): -Σ_j w[j] log2 w[j] of rows of weights, in bits."""
    logs = w.clamp_min(_LEAST).log_()
    return logs.mul_(w).sum(dim=2).div_(-math.log(2)).clamp_min_(0.0)


def _diagonal(w: Tensor, offset: int) -> Tensor:
    """(h,): the sum of w[h, i, i + offset] over the rows i that have it."""
    return w.diagonal(offset, dim1=1, dim2=2).sum(dim=1)


def tokens_of(trace: Trace, layer: int, item: int, device: torch.device) -> Tokens:
    """A layer's queries and keys, with ids if some token comes twice."""
    about = trace.layers[layer]
    aligned = about.kind != "cross"
    n_q, n_k = about.n_q, about.n_k
    ids = [token.id for token in trace.col_tokens(layer, item)]
    if not aligned or n_k < n_q or len(set(ids)) == len(ids) or min(ids) < 0:
        return Tokens(n_q, n_k, aligned)
    earliest = {id: j for j, id in reversed(list(enumerate(ids)))}
    n_repeats = sum(earliest[id] < j for j, id in list(enumerate(ids))[n_k - n_q :])
    return Tokens(n_q, n_k, aligned, torch.tensor(ids, device=device), n_repeats)


class Means:
    """Metrics of a layer's heads, from the sums of its blocks.

    Registered metrics that have a meaning in this layer are the ones that are measured.
    """

    def __init__(self, tokens: Tokens) -> None:
        rows = {found: found.rows(tokens) for found in METRICS.values()}
        self._rows = {found: n for found, n in rows.items() if n}
        self._sums: dict[str, Tensor] = {}

    def measure(self, w: Tensor, at: Positions) -> dict[str, Tensor]:
        """(h,) sums over the rows of (h, r, c) weights, by metric; in any thread."""
        return {found.name: found.measure(w, at) for found in self._rows}

    def add(self, sums: dict[str, Tensor]) -> None:
        """Take in a block's sums, (H,) float64 each."""
        for name, values in sums.items():
            self._sums[name] = self._sums[name] + values if name in self._sums else values

    def by_head(self) -> list[dict[str, float | None]]:
        """Every registered metric of every head; None where it has no meaning."""
        n_heads = len(next(iter(self._sums.values())))
        found: list[dict[str, float | None]] = [dict.fromkeys(METRICS) for _ in range(n_heads)]
        for one, n in self._rows.items():
            for values, mean in zip(found, (self._sums[one.name] / n).tolist(), strict=True):
                values[one.name] = mean
        return found


def table(metrics: Iterable[Metric]) -> str:
    """docs/metrics.md."""
    rows = "\n".join(
        f"| {m.title} | `{m.name}` | {m.unit} | {_cell(m.formula)} | {_cell(m.uniform)} |"
        for m in metrics
    )
    return f"{_INTRODUCTION}\n{rows}\n"


_INTRODUCTION = """\
# Head metrics

What each head does, as numbers. `attnviz.analysis.heads.head_metrics(trace)` computes them block
by block; they are the mean over the rows that count. `w[i, j]` is the weight of query i on key j,
`p(i)` the position of query i among the keys. The last column is the baseline, what uniform
attention over the visible keys gives; its value is `heads.baselines(trace, layer)`. A metric that
needs positions has no value in cross-attention. Made by
`python -m attnviz.analysis.metrics > docs/metrics.md`.

| metric | name | unit | formula | uniform attention |
| --- | --- | --- | --- | --- |"""


def _cell(text: str) -> str:
    """Text inside a table, where a bar would end the cell."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(table(METRICS.values()), end="")
