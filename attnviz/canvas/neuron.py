"""One query against each key: q, k, their elementwise product, its sum, the weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnviz.analysis.arrays import as_numpy
from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits
from attnviz.canvas.naming import (
    TextAxis,
    col_axis,
    layer_name,
    row_axis,
    token_names,
    trace_id,
)
from attnviz.errors import AttnVizError
from attnviz.trace import Trace

BYTES = 2 << 20  # up to here all queries are sent, and selecting one needs no request
KEYS = 4096  # sent at most; of a longer text, those around the query


@dataclass(frozen=True)
class NeuronPayload:
    """Queries against keys.

    Attributes:
        query: the selected one. queries, keys: first and one past the last that are sent.
        q: (Q, d_head) float32. k: (K, d_head) float32.
        dots: (Q, K) float32, q · k. scores: (Q, K) float32, scaled, biased, -inf where masked.
        weights: (Q, K) float32.
        scaling: the factor from dots to scores, where nothing else is added.
    """

    id: str
    title: str
    query: int
    queries: tuple[int, int]
    keys: tuple[int, int]
    q: np.ndarray
    k: np.ndarray
    dots: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    scaling: float
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    row_axis: TextAxis
    col_axis: TextAxis

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        header = {
            "mode": "neuron",
            "id": self.id,
            "title": self.title,
            "query": self.query,
            "queries": self.queries,
            "keys": self.keys,
            "scaling": self.scaling,
            "weights": SignificantDigits().header(),
            "rowNames": self.row_names,
            "colNames": self.col_names,
            "rowAxis": self.row_axis.header(),
            "colAxis": self.col_axis.header(),
        }
        arrays = {
            "q": self.q,
            "k": self.k,
            "dots": self.dots,
            "scores": self.scores,
            "weightCodes": SignificantDigits().encode(self.weights, np.isneginf(self.scores)),
        }
        return wire.pack({**header, **display}, arrays)


def neuron_payload(
    trace: Trace, layer: int, head: int, query: int | None = None, *, item: int = 0
) -> NeuronPayload:
    """One head, seen from one query.

    Args:
        query: a row, by default the last; of a short text all rows are sent.
        item: which text of a batch.

    Raises:
        AttnVizError: no such layer, head or query, or a layer that hides its Q, K or scores.
    """
    a = trace.attention(layer, head, item=item)
    query = a.n_q - 1 if query is None else query
    if not 0 <= query < a.n_q:
        raise AttnVizError(f"There is no query {query}.", f"They run from 0 to {a.n_q - 1}.")
    q, k = a.q, a.k
    if a.scaling is None:
        a.scores(slice(0, 1))  # raises with the reason
        raise AttnVizError("This layer's Q and K are not available.", "Use the Map view.")
    n_bytes = (a.n_q + a.n_k) * q.shape[1] * 4 + a.n_q * a.n_k * 10
    rows = slice(0, a.n_q) if n_bytes <= BYTES else slice(query, query + 1)
    first = min(max(0, query + a.n_k - a.n_q + KEYS // 8 - KEYS), max(0, a.n_k - KEYS))
    cols = slice(0, a.n_k) if a.n_k <= KEYS else slice(first, first + KEYS)
    q, k = q[rows], k[cols]
    return NeuronPayload(
        id=f"{trace_id(trace)}/{layer}/{head}/{rows.start}/{cols.start}/{item}",
        title=f"{layer_name(trace, layer)}, head {head}",
        query=query,
        queries=(rows.start, rows.stop),
        keys=(cols.start, cols.stop),
        q=as_numpy(q),
        k=as_numpy(k),
        dots=as_numpy(q.double() @ k.double().T),
        scores=as_numpy(a.scores(rows, cols)),
        weights=as_numpy(a.weights(rows, cols)),
        scaling=float(a.scaling),
        row_names=token_names(trace.row_tokens(layer, item)),
        col_names=token_names(trace.col_tokens(layer, item)),
        row_axis=row_axis(trace, layer, item),
        col_axis=col_axis(trace, layer, item),
    )
