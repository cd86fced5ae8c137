"""Head metrics: each is one number of a head, and one registered function.

    @metric("backward", title="To earlier tokens", help="mean weight on all tokens before",
            unit="0 to 1", rows=Tokens.own,
            uniform="mean of 1 - 1 / visible keys in causal attention",
            per_query=lambda row: row.w[: row.p].sum())
    def backward(tile: Tile) -> Tensor:
        \"""mean over i of Σ_j w[i, j] over j < p(i)\"""
        return tile.w.tril(tile.at.diagonal - 1).sum(dim=(1, 2))

The grid, its sort list, the CSV file, ``HeadMetrics``, the table in the docs and the tests follow
from this alone (docs/contributing.md). A metric is written twice:

- ``per_query`` is its definition: the number of one query, from its weights on all keys. The metric
  is the mean over the queries that count. ``heads.query_metric`` evaluates it, and the tests
  compare the function with it.
- The function computes the same for many heads at once. It gets a tile, the weights of some rows of
  some heads with their positions, and returns (h,) sums over these rows. It must be thread-safe and
  must not modify the weights.

``w[i, j]`` is the weight of query i on key j; ``p(i)`` is the position of query i among the keys,
``i + n_k - n_q`` where a text was continued.

``python -m attnviz.analysis.metrics`` prints the table of all metrics.
"""

from __future__ import annotations

import inspect
import keyword
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from attnviz.analysis.positions import Row, Tile, Tokens

Measure = Callable[[Tile], Tensor]
PerQuery = Callable[[Row], float | Tensor | None]


@dataclass(frozen=True)
class Metric:
    """One number of a head.

    Attributes:
        name: in code and files, and an attribute of ``HeadMetrics``. title: on screen.
        help: what it says, in a few words.
        unit: of the number; "0 to 1" for a share of the attention.
        measure: a tile of weights -> (h,) sums over its rows.
        rows: how many of a layer's rows count, a method of ``Tokens``: ``every``, ``own``,
            ``later`` or ``repeated``. If none do, the metric is undefined there.
        uniform: its baseline in words: the value under uniform attention over the visible keys.
            ``heads.baselines`` computes it.
        per_query: its definition, a query's weights -> one number; None at queries that don't
            count. It is evaluated only in layers where some rows count.
    """

    name: str
    title: str
    help: str
    unit: str
    measure: Measure
    rows: Callable[[Tokens], int]
    uniform: str
    per_query: PerQuery

    @property
    def formula(self) -> str:
        """The function's docstring, on one line."""
        return " ".join((inspect.getdoc(self.measure) or "").split())

    def of_query(self, row: Row) -> float:
        """Its value at one query; NaN at a query that doesn't count.

        Raises:
            TypeError: ``per_query`` returned something other than a number.
        """
        found = self.per_query(row)
        if found is None:
            return math.nan
        if isinstance(found, Tensor) and found.numel() != 1:
            raise TypeError(
                f"per_query of metric {self.name!r} returned shape {tuple(found.shape)}. "
                "It needs one number, or None."
            )
        return float(found)


# By name, in the order of the choices on screen.
METRICS: dict[str, Metric] = {}

# The other attributes of ``HeadMetrics``, which would hide a metric of that name.
_RESERVED = ("layer", "head", "kind", "values")


def metric(
    name: str,
    *,
    title: str,
    help: str,
    unit: str,
    uniform: str,
    per_query: PerQuery,
    rows: Callable[[Tokens], int] = Tokens.every,
) -> Callable[[Measure], Measure]:
    """Register a function as a metric; see ``Metric`` for the arguments.

    Raises:
        ValueError: the name is taken, or can't be an attribute.
        TypeError: ``rows`` is not a function.
    """

    def register(measure: Measure) -> Measure:
        if name in METRICS:
            raise ValueError(f"There is a metric {name!r} already.")
        if not name.isidentifier() or keyword.iskeyword(name) or name in _RESERVED:
            raise ValueError(
                f"A metric can't be named {name!r}: it is read as an attribute, head.{name}. "
                f"Use a Python name other than {', '.join(_RESERVED)}."
            )
        if not callable(rows):
            raise TypeError(
                f"Metric {name!r} has rows={rows!r}. It needs a function that counts rows, "
                "such as Tokens.own."
            )
        METRICS[name] = Metric(name, title, help, unit, measure, rows, uniform, per_query)
        return measure

    return register


@metric(
    "entropy",
    title="Entropy",
    help="How spread out the weights are: 0 means one key, more means many",
    unit="bits",
    uniform="mean of log2 of the number of visible keys",
    per_query=lambda row: torch.special.entr(row.w).sum() / math.log(2),
)
def entropy(tile: Tile) -> Tensor:
    """mean over i of -Σ_j w[i, j] log2 w[i, j]"""
    return tile.row_entropy.sum(dim=1)


@metric(
    "distance",
    title="Distance",
    help="Mean distance between a query and the keys it attends to",
    unit="tokens",
    rows=Tokens.own,
    uniform="mean distance to the visible keys",
    per_query=lambda row: row.w @ (row.keys - row.p).abs(),
)
def distance(tile: Tile) -> Tensor:
    """mean over i of Σ_j w[i, j] |p(i) - j|"""
    return tile.w.flatten(1) @ tile.at.distances


@metric(
    "first",
    title="First token",
    help="Mean weight on the first token",
    unit="0 to 1",
    uniform="mean of 1 / visible keys over the rows that see key 0",
    per_query=lambda row: row.w[0],
)
def first(tile: Tile) -> Tensor:
    """mean over i of w[i, 0]"""
    return tile.w[:, :, 0].sum(dim=1) if tile.at.lo == 0 else tile.w.new_zeros(len(tile.w))


@metric(
    "itself",
    title="Current token",
    help="Mean weight on the query's own position",
    unit="0 to 1",
    rows=Tokens.own,
    uniform="mean of 1 / visible keys",
    per_query=lambda row: row.w[row.p],
)
def itself(tile: Tile) -> Tensor:
    """mean over i of w[i, p(i)]"""
    return _diagonal(tile.w, tile.at.diagonal)


@metric(
    "previous",
    title="Previous token",
    help="Mean weight on the token before the query",
    unit="0 to 1",
    rows=Tokens.later,
    uniform="mean of 1 / visible keys over these rows",
    per_query=lambda row: row.w[row.p - 1] if row.p > 0 else None,
)
def previous(tile: Tile) -> Tensor:
    """mean over i with p(i) > 0 of w[i, p(i) - 1]"""
    return _diagonal(tile.w, tile.at.diagonal - 1)


@metric(
    "max_weight",
    title="Max weight",
    help="Mean over queries of the largest weight",
    unit="0 to 1",
    uniform="mean of 1 / visible keys",
    per_query=lambda row: row.w.max(),
)
def max_weight(tile: Tile) -> Tensor:
    """mean over i of max_j w[i, j]"""
    return tile.row_max.sum(dim=1)


def _after_earlier_copies(row: Row) -> Tensor | None:
    """The weight on the keys that follow earlier copies of the query's token."""
    copies = row.ids[: row.p] == row.ids[row.p]
    return row.w[1 : row.p + 1][copies].sum() if copies.any() else None


@metric(
    "induction",
    title="Induction",
    help="Mean weight on the token that followed an earlier copy of the query's token",
    unit="0 to 1",
    rows=Tokens.repeated,
    uniform="mean share of such keys among the visible keys",
    per_query=_after_earlier_copies,
)
def induction(tile: Tile) -> Tensor:
    """mean of Σ_j w[i, j] over the keys j <= p(i) that follow an earlier occurrence of token i,
    over the rows i that have one (Olsson et al. 2022)"""
    return tile.w.flatten(1) @ tile.at.follows


def _diagonal(w: Tensor, offset: int) -> Tensor:
    """(h,): the sum of w[h, i, i + offset] over the rows i that have it."""
    return w.diagonal(offset, dim1=1, dim2=2).sum(dim=1)


class Means:
    """Metrics of a layer's heads, accumulated over its tiles.

    Metrics that are undefined in this layer are not computed.
    """

    def __init__(self, tokens: Tokens) -> None:
        n_rows = {metric: metric.rows(tokens) for metric in METRICS.values()}
        self._n_rows = {metric: n for metric, n in n_rows.items() if n}
        self._sums: dict[str, Tensor] = {}

    def measure(self, tile: Tile) -> dict[str, Tensor]:
        """(h,) sums over a tile's rows, by metric. Thread-safe.

        Raises:
            TypeError: a metric returned something else.
        """
        return {
            metric.name: _checked(metric, metric.measure(tile), tile) for metric in self._n_rows
        }

    def add(self, sums: dict[str, Tensor]) -> None:
        """Add the sums of some rows of all heads, (H,) float64 each."""
        for name, values in sums.items():
            self._sums[name] = self._sums[name] + values if name in self._sums else values

    def by_head(self) -> list[dict[str, float | None]]:
        """Every registered metric of every head; None where it is undefined."""
        n_heads = len(next(iter(self._sums.values())))
        heads: list[dict[str, float | None]] = [dict.fromkeys(METRICS) for _ in range(n_heads)]
        for metric, n in self._n_rows.items():
            means = (self._sums[metric.name] / n).tolist()
            for values, mean in zip(heads, means, strict=True):
                values[metric.name] = mean
        return heads


def _checked(metric: Metric, sums: object, tile: Tile) -> Tensor:
    """What a metric returned for a tile, if it is one number a head."""
    if isinstance(sums, Tensor) and sums.shape == tile.w.shape[:1]:
        return sums
    found = f"shape {tuple(sums.shape)}" if isinstance(sums, Tensor) else type(sums).__name__
    raise TypeError(
        f"Metric {metric.name!r} returned {found} for weights of shape {tuple(tile.w.shape)}. "
        f"It needs a tensor of shape ({len(tile.w)},): for each head, the sum over the tile's rows."
    )


def table(metrics: Iterable[Metric]) -> str:
    """The metrics as a Markdown table."""
    head = "| metric | name | unit | formula | uniform attention |\n| --- | --- | --- | --- | --- |"
    rows = (
        f"| {m.title} | `{m.name}` | {m.unit} | {_cell(m.formula)} | {_cell(m.uniform)} |"
        for m in metrics
    )
    return "\n".join([head, *rows])


def _cell(text: str) -> str:
    """Text inside a Markdown table, where a bar would end the cell."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(table(METRICS.values()))
