"""Matrices of a trace with labels, for charts and for files.

m = attention(trace, layer=3, head=5)      # all weights: rows are queries, columns keys
m.csv()                                    # text, with the labels
numpy.load(io.BytesIO(m.npz()))["values"]  # the same, float32
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from attnviz.analysis import overviews
from attnviz.analysis.arrays import as_numpy
from attnviz.analysis.export import csv_text, npz_bytes, row_labels
from attnviz.analysis.heads import HeadMetrics
from attnviz.analysis.metrics import METRICS
from attnviz.analysis.overviews import Quantity
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from attnviz.trace.axis_labels import numbered_tokens

MAX_CELLS = 1 << 20  # of one matrix; more of a map is pooled

Vectors = Literal["Q", "K", "V", "Output"]


@dataclass(frozen=True)
class Matrix:
    """Labeled numbers.

    Attributes:
        values: (R, C) float32. masked: (R, C) booleans, cells without a number.
        rows, cols: their labels. row_title, col_title, value_title: what they are.
        side: each value is the maximum of a square of this side.
    """

    values: np.ndarray
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    row_title: str
    col_title: str
    value_title: str
    masked: np.ndarray | None = None
    side: int = 1

    def csv(self) -> str:
        """The labeled matrix, what it holds in its corner; nine digits are all of a float32."""
        pooled = self.side > 1
        what = (
            f"largest {self.value_title} of {self.side} x {self.side}"
            if pooled
            else self.value_title
        )
        corner = f"{what}: {self.row_title} \\ {self.col_title}"
        rows = zip(self.rows, self.values, strict=True)
        return csv_text(
            [corner, *self.cols],
            ([label, *(f"{value:.9g}" for value in row)] for label, row in rows),
        )

    def npz(self) -> bytes:
        """For ``numpy.load`` without pickles: ``values`` float32, ``rows``, ``cols``."""
        return npz_bytes(values=self.values, rows=np.array(self.rows), cols=np.array(self.cols))


def attention(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity = "weights",
    rows: slice | None = None,
    cols: slice | None = None,
    *,
    max_cells: int = MAX_CELLS,
    item: int = 0,
) -> Matrix:
    """Weights or scores of some queries on some keys.

    Where there would be more than ``max_cells``, each number is the maximum of a square, whose side
    is a power of two.

    Raises:
        AttnVizError: no such layer or head, or one that was refused or hides its scores.
    """
    a = trace.attention(layer, head, item=item)
    r = range(*(rows or slice(None)).indices(a.n_q))
    c = range(*(cols or slice(None)).indices(a.n_k))
    side = 1
    while -(-len(r) // side) * -(-len(c) // side) > max_cells:
        side *= 2
    r, c = range(r.start // side * side, r.stop), range(c.start // side * side, c.stop)
    at = (slice(r.start, r.stop), slice(c.start, c.stop))
    values = as_numpy(overviews.tile(trace, layer, head, *at, side, quantity, item))
    masked = None
    if quantity == "scores":
        masked = np.isneginf(values)
    elif side == 1 and (hidden := a.masked(*at)) is not None:
        masked = hidden.cpu().numpy()
    return Matrix(
        values,
        row_labels(trace.row_tokens(layer, item), r, side),
        row_labels(trace.col_tokens(layer, item), c, side),
        "query",
        "key",
        quantity.removesuffix("s"),
        masked,
        side,
    )


def vectors(
    trace: Trace,
    layer: int,
    head: int,
    which: Vectors,
    rows: slice | None = None,
    *,
    item: int = 0,
) -> Matrix:
    """One head's queries, keys, values or outputs, a row per token and a column per dimension.

    Raises:
        AttnVizError: the layer has none, with the reason.
    """
    a = trace.attention(layer, head, item=item)
    at = rows or slice(None)
    of_keys = which in ("K", "V")
    tokens = trace.col_tokens(layer, item) if of_keys else trace.row_tokens(layer, item)
    read = {"Q": lambda: a.q[at], "K": lambda: a.k[at], "V": lambda: a.v[at]}
    values = as_numpy(a.output(at) if which == "Output" else read[which]())
    return Matrix(
        values,
        row_labels(tokens, range(*at.indices(len(tokens)))),
        tuple(map(str, range(values.shape[1]))),
        "key" if of_keys else "query",
        "dimension",
        which.lower(),
    )


def vectors_window(
    trace: Trace,
    layer: int,
    head: int,
    which: Vectors,
    *,
    around: int = 0,
    max_cells: int = MAX_CELLS,
    item: int = 0,
) -> slice:
    """The rows of `vectors` around one of them that are at most ``max_cells`` numbers."""
    a = trace.attention(layer, head, item=item)
    n = a.n_k if which in ("K", "V") else a.n_q
    width = (a.q if which in ("Q", "K") else a.v).shape[1]
    rows = max(1, max_cells // width)
    start = max(0, min(around - rows // 2, n - rows))
    return slice(start, min(n, start + rows))


def one_query(trace: Trace, layer: int, head: int, query: int, *, item: int = 0) -> Matrix:
    """One query against every key: q · k, score, weight, and the elementwise product.

    Raises:
        AttnVizError: no such query, or a layer that hides its Q, K or scores.
    """
    a = trace.attention(layer, head, item=item)
    if not 0 <= query < a.n_q:
        raise AttnVizError(f"There is no query {query}.", f"They run from 0 to {a.n_q - 1}.")
    row = slice(query, query + 1)
    product = a.q[query].double() * a.k.double()  # (n_k, d_head)
    columns = (product.sum(dim=1), a.scores(row)[0].double(), a.weights(row)[0].double())
    values = torch.cat([torch.stack(columns, dim=1), product], dim=1)
    dimensions = (f"q*k {i}" for i in range(product.shape[1]))
    (label,) = row_labels(trace.row_tokens(layer, item), range(query, query + 1))
    return Matrix(
        as_numpy(values),
        row_labels(trace.col_tokens(layer, item)),
        ("q.k", "score", "weight", *dimensions),
        "key",
        f"product with query {label}",
        "value",
    )


def residual_norms(trace: Trace, layer: int) -> Matrix:
    """Norms of the residual stream in a layer's tower, a row per token and a column per block.

    Raises:
        AttnVizError: the trace kept no residual stream, or its number of positions changes.
    """
    tower = trace.tower_of(layer)
    where = None if tower is None else tower.name
    # At least one, so that a trace without a stream raises its own error.
    depths = range(max(trace.n_residuals(tower=where), 1))
    norms = [trace.residual(i, tower=where).float().norm(dim=-1) for i in depths]
    lengths = {len(norm) for norm in norms}
    if len(lengths) > 1:
        raise AttnVizError(
            "The number of positions shrinks from block to block, so there is no single matrix.",
            "Use trace.residual(i) for each block.",
        )
    tokens = trace.row_tokens(layer)
    if len(tokens) not in lengths:  # a layer that works on windows of the stream
        tokens = numbered_tokens(lengths.pop())
    return Matrix(
        as_numpy(torch.stack(norms, dim=1)),
        row_labels(tokens, range(len(tokens))),
        ("embed", *(f"block {i}" for i in depths[:-1])),
        "token",
        "after",
        "norm",
    )


def metrics(trace: Trace, heads: Sequence[HeadMetrics]) -> Matrix:
    """Every head's metrics; nan where a metric is undefined."""
    values = [[head.values.get(name) for name in METRICS] for head in heads]
    return Matrix(
        np.array(values, dtype=np.float32).reshape(-1, len(METRICS)),  # None becomes nan
        tuple(f"{trace.layers[h.layer].kind} {h.layer}.{h.head}" for h in heads),
        tuple(METRICS),
        "layer.head",
        "metric",
        "value",
    )
