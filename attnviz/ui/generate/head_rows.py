"""HeadRows of attention as a text is written: one a token, for the heads that somebody watches."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.errors import AttnVizError
from attnviz.models.tokens import display_text

if TYPE_CHECKING:
    from attnviz.trace.generation import GenerationStep
    from attnviz.trace.structure import Kind

ROWS = 24  # the newest that are held and drawn
KEYS = 96  # the newest that are drawn one by one
CELL = 14  # px, the height of a row
AXES = 110  # px, above and below the rows

HeadRef = tuple[int, int]  # the index of a layer in the order in which they run, and a head


class Row(NamedTuple):
    """What one query looked at when the token after it was chosen.

    Attributes:
        query: its position in the text that is written.
        weights: (n_k,) float32.
    """

    query: int
    weights: np.ndarray


class HeadRows:
    """The newest rows of one head, while its text is written.

    Attributes:
        kind: of the layer: what the keys are; None until a token has come, and where there is
            nothing to see, as in an encoder.
    """

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.newest: deque[Row] = deque(maxlen=ROWS)
        self._none = False

    def add(self, step: GenerationStep, watched: HeadRef, written: int) -> None:
        """Take the row of one more token, and if it is the first one also those that came before.

        Args:
            written: how many tokens were written, this one included.
        """
        if self._none:
            return
        last = step.position - 1  # the query that chose the token
        first = last if self.newest else max(last - written + 1, last - ROWS + 1)
        try:
            if step.kind(watched[0]) == "encoder":
                self._none = True
                return
            weights = step.weights(*watched, since=first).cpu().numpy()  # (r, n_k)
        except AttnVizError:  # a layer or head that cannot be shown: the page says so itself
            self._none = True
            return
        self.kind = step.kind(watched[0])
        self.newest.extend(Row(first + i, row) for i, row in enumerate(weights))


def picture(rows: Sequence[Row], queries: Sequence[str], keys: Sequence[str]) -> charts.Chart:
    """The rows as a heatmap. Keys long ago share a column, whose weight is the sum of theirs.

    Args:
        queries: names of the rows. keys: names of all keys that the last row can see.
    """
    values = np.full((len(rows), len(keys)), np.nan, dtype=np.float32)
    for i, row in enumerate(rows):
        values[i, : len(row.weights)] = row.weights
    names = [display_text(key) for key in keys]
    together = len(keys) - KEYS + 1
    if together > 1:
        sums = np.nansum(values[:, :together], axis=1, keepdims=True)
        values = np.concatenate([sums, values[:, together:]], axis=1)
        late = [f"{i} {name}" for i, name in enumerate(names) if i >= together]
        names = [f"0 to {together - 1} together", *late]
    return charts.heatmap(
        np.nan_to_num(values),
        [display_text(query) for query in queries],
        names,
        domain=(0.0, 1.0),
        masked=np.isnan(values),
        size=(max(6, min(CELL, 640 // len(names))) * len(names), CELL * len(rows)),
    )


class Picture:
    """The rows on the page, with room for all that will come, so that nothing below them moves.

    It is a chart and not the page's canvas, since Streamlit takes a keyed component once a run, and
    builds one without a key anew, with all its script, each time it is sent.
    """

    def __init__(self, written: int) -> None:
        """Where the page now stands, for that many tokens."""
        st.caption("What the selected head looks at, token by token:")
        room = st.container(height=AXES + CELL * min(written, ROWS), border=False)
        self._place = room.empty()

    def show(self, rows: Sequence[Row], queries: Sequence[str], keys: Sequence[str]) -> None:
        """See `picture`."""
        self._place.vega_lite_chart(
            picture(rows, queries, keys).vega_lite(),
            width="content",
            theme=None,
            alt=f"Attention of the newest {len(rows)} tokens",
        )
