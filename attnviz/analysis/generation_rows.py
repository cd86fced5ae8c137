"""A head's newest rows of attention while a model generates: one row per token."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnviz.analysis.matrices import Matrix
from attnviz.errors import AttnVizError
from attnviz.models.tokens import display_text

if TYPE_CHECKING:
    from attnviz.trace.generation import GenerationStep
    from attnviz.trace.structure import Kind

ROWS = 24  # the newest rows that are kept
KEYS = 96  # the newest keys that have a column each

HeadRef = tuple[int, int]  # the index of a layer in the order in which they run, and a head


class Row(NamedTuple):
    """The weights of one query, from which the next token was predicted.

    Attributes:
        query: its position in the generated text.
        weights: (n_k,) float32.
    """

    query: int
    weights: np.ndarray


class HeadRows:
    """The newest rows of one head.

    Attributes:
        kind: of the layer, which decides what the keys are. None before the first token, and where
            there are no rows, as in an encoder.
    """

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.newest: deque[Row] = deque(maxlen=ROWS)
        self._unavailable = False

    def add(self, step: GenerationStep, head: HeadRef, n_generated: int) -> None:
        """Add the row of one more token; the first call adds the rows before it, too.

        Args:
            n_generated: tokens generated so far, this one included.
        """
        if self._unavailable:
            return
        last = step.position - 1  # the query that predicted the token
        first = last if self.newest else max(last - n_generated + 1, last - ROWS + 1)
        try:
            if step.kind(head[0]) == "encoder":
                self._unavailable = True
                return
            weights = step.weights(*head, since=first).cpu().numpy()  # (n_rows, n_k)
        except AttnVizError:  # a refused layer: the page that shows it gives the reason
            self._unavailable = True
            return
        self.kind = step.kind(head[0])
        self.newest.extend(Row(first + i, row) for i, row in enumerate(weights))


def rows_matrix(rows: Sequence[Row], queries: Sequence[str], keys: Sequence[str]) -> Matrix:
    """The rows as a matrix. All but the newest keys share a column, which holds their sum.

    Args:
        queries: texts of the rows' tokens.
        keys: texts of all keys that the last row can see.
    """
    values = np.full((len(rows), len(keys)), np.nan, dtype=np.float32)
    for i, row in enumerate(rows):
        values[i, : len(row.weights)] = row.weights
    names = [display_text(key) for key in keys]
    n_summed = len(keys) - KEYS + 1
    if n_summed > 1:
        sums = np.nansum(values[:, :n_summed], axis=1, keepdims=True)  # (n_rows, 1)
        values = np.concatenate([sums, values[:, n_summed:]], axis=1)
        newest = [f"{i} {name}" for i, name in enumerate(names) if i >= n_summed]
        names = [f"0 to {n_summed - 1} together", *newest]
    return Matrix(
        np.nan_to_num(values),
        tuple(display_text(query) for query in queries),
        tuple(names),
        "query",
        "key",
        "weight",
        np.isnan(values),
    )
