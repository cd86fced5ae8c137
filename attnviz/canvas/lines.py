"""Several heads of a layer as lines from each query to the keys it attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnviz.analysis.edges import strong_edges
from attnviz.canvas import wire
from attnviz.canvas.codecs import SignificantDigits
from attnviz.canvas.memo import Memo, uncached
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

FLOOR = 0.01  # a line of less weight is invisible; a row has at most 100 of more
MAX_LINES = 1_500_000  # 9 MB


@dataclass(frozen=True)
class LinesPayload:
    """The weights from a floor up, row after row.

    Attributes:
        heads: which heads. floor: every weight above it is here.
        starts: (heads, n_q + 1) uint32, where each row's lines begin in ``keys`` and ``codes``.
        keys: (lines,) uint32. codes: (lines,) uint16.
        token: ("row" | "col", index) whose lines are shown alone.
        front: the head whose lines lie in front.
    """

    id: str
    title: str
    heads: tuple[int, ...]
    floor: float
    starts: np.ndarray
    keys: np.ndarray
    codes: np.ndarray
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    row_axis: TextAxis
    col_axis: TextAxis
    token: tuple[str, int] | None
    front: int | None = None

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        header = {
            "mode": "lines",
            "id": self.id,
            "title": self.title,
            "heads": self.heads,
            "floor": self.floor,
            "codec": SignificantDigits().header(),
            "rowNames": self.row_names,
            "colNames": self.col_names,
            "rowAxis": self.row_axis.header(),
            "colAxis": self.col_axis.header(),
            "token": self.token,
            "front": self.front,
        }
        arrays = {"starts": self.starts, "keys": self.keys, "codes": self.codes}
        return wire.pack({**header, **display}, arrays)


def lines_payload(
    trace: Trace,
    layer: int,
    heads: Sequence[int] | None = None,
    *,
    floor: float = FLOOR,
    max_lines: int = MAX_LINES,
    token: tuple[str, int] | None = None,
    front: int | None = None,
    item: int = 0,
    memo: Memo = uncached,
) -> LinesPayload:
    """Some heads of one layer.

    Args:
        heads: by default all heads of the layer.
        floor: the least weight that is drawn. max_lines: the floor rises until at most so many are
            left; the payload has the floor that was reached.
        token: ("row" | "col", index) whose lines are shown alone at first.
        front: the head whose lines lie in front.
        item: which text of a batch.
        memo: caches the lines.

    Raises:
        AttnVizError: no such layer or head, or a layer that was refused.
    """
    known = trace.layers[layer] if 0 <= layer < len(trace.layers) else None
    chosen = tuple(range(known.n_heads)) if heads is None and known else tuple(heads or ())
    if not chosen:
        raise AttnVizError("No head is chosen.", "Choose at least one head of this layer.")
    for head in chosen:
        trace.attention(layer, head, item=item)
    floor, starts, keys, codes = memo(
        ("lines", layer, chosen, floor, max_lines, item),
        lambda: _lines(trace, layer, chosen, floor, max_lines, item),
    )
    return LinesPayload(
        id=f"{trace_id(trace)}/{layer}/{','.join(map(str, chosen))}/{floor}/{item}",
        title=layer_name(trace, layer),
        heads=chosen,
        floor=floor,
        starts=starts,
        keys=keys,
        codes=codes,
        row_names=token_names(trace.row_tokens(layer, item)),
        col_names=token_names(trace.col_tokens(layer, item)),
        row_axis=row_axis(trace, layer, item),
        col_axis=col_axis(trace, layer, item),
        token=token,
        front=front,
    )


def _lines(
    trace: Trace, layer: int, heads: tuple[int, ...], floor: float, max_lines: int, item: int
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """The floor that was reached; starts, keys and codes as in `LinesPayload`."""
    edges = strong_edges(trace, layer, heads, floor, max_edges=max_lines, item=item)
    n_q = trace.layers[layer].n_q
    of_head = [edges.query[edges.head == head] for head in heads]
    counts = np.concatenate([np.bincount(query, minlength=n_q) for query in of_head])
    ends = np.concatenate([[0], np.cumsum(counts)])
    starts = np.stack([ends[h * n_q : (h + 1) * n_q + 1] for h in range(len(heads))])
    codes = SignificantDigits().encode(edges.weight)
    return edges.floor, starts.astype(np.uint32), edges.key.astype(np.uint32), codes
