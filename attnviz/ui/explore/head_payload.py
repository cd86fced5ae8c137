"""What the canvas and the files of one head hold, for each view of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from attnviz.analysis import matrices
from attnviz.analysis.code_export import trace_code
from attnviz.analysis.edges import Edges, strong_edges
from attnviz.canvas import (
    TokenRef,
    Viewport,
    image_payload,
    lines_payload,
    map_payload,
    matrix_payload,
    neuron_payload,
)
from attnviz.canvas.naming import (
    col_axis,
    layer_name,
    row_axis,
    token_names,
    trace_id,
)

if TYPE_CHECKING:
    from attnviz.analysis.matrices import Matrix, Vectors
    from attnviz.analysis.overviews import Quantity
    from attnviz.canvas.bundle import Payload
    from attnviz.canvas.memo import Memo
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.generate.results import TraceRef

IMAGE = "Image"
MAPS: dict[str, Quantity] = {"Map": "weights", "Scores": "scores"}
VECTORS: dict[str, Vectors] = {"Q": "Q", "K": "K", "V": "V", "Output": "Output"}


class HeadView(NamedTuple):
    """One head in one view, with the token in focus."""

    ref: TraceRef
    layer: AttentionLayer
    head: int
    view: str  # a key of `head_view.VIEWS`
    focus: TokenRef | None  # where this layer's map has the token in focus

    @property
    def trace(self) -> Trace:
        """The trace; a fragment and its callbacks keep its key alone."""
        return self.ref.trace

    @property
    def query(self) -> int | None:
        """The token in focus, if it is a query."""
        return self.focus.index if self.focus is not None and self.focus.side == "row" else None

    @property
    def n_vectors(self) -> int:
        """How many tokens have such a vector."""
        return self.layer.n_k if self.view in ("K", "V") else self.layer.n_q

    @property
    def code(self) -> str:
        """Python that computes what is shown."""
        choice, request = self.ref.choice, self.ref.request
        return trace_code(choice, request, self.layer, self.head, self.view, self.query)


class Area(NamedTuple):
    """The part of a view that is on screen, and the picked cell."""

    viewport: Viewport | None = None  # None: all of it
    cell: tuple[int, int] | None = None


def payload(shown: HeadView, area: Area, memo: Memo) -> Payload:
    """What the canvas receives for a view.

    Raises:
        AttnVizError: the layer holds no such thing, with the reason.
    """
    trace, i, head = shown.trace, shown.layer.index, shown.head
    token = None if shown.focus is None else (shown.focus.side, shown.focus.index)
    if shown.view in MAPS:
        return map_payload(
            trace,
            i,
            head,
            area.viewport,
            quantity=MAPS[shown.view],
            cell=area.cell,
            focus=token,
            report=True,
            memo=memo,
        )
    if shown.view == IMAGE:
        return image_payload(trace, i, head, shown.query, memo=memo)
    if shown.view == "Lines":
        return lines_payload(trace, i, token=token, front=head, memo=memo)
    if shown.view == "Neuron":
        query = shown.query
        return memo(("neuron", i, head, query), lambda: neuron_payload(trace, i, head, query))
    return _vectors_payload(shown, area, memo)


def _vectors_payload(shown: HeadView, area: Area, memo: Memo) -> Payload:
    trace, i, head, view = shown.trace, shown.layer.index, shown.head, shown.view
    rows = vectors_window(shown)
    matrix = _vectors(shown, rows, memo)
    of_keys = view in ("K", "V")
    tokens = trace.col_tokens(i) if of_keys else trace.row_tokens(i)
    axis = col_axis(trace, i) if of_keys else row_axis(trace, i)
    return matrix_payload(
        matrix.values,
        token_names(tokens[rows]),
        matrix.cols,
        title=f"{layer_name(trace, i)}, head {head}: {view}",
        id=f"{trace_id(trace)}/{i}/{head}/{view}/{rows.start}",
        space=f"{trace_id(trace)}/{shown.layer.kind}/{matrix.values.shape}",
        row_title=matrix.row_title,
        col_title=matrix.col_title,
        value_title=view,
        two_sided=True,
        view=area.viewport,
        focus=None if shown.query is None else shown.query - rows.start,
        report=True,
        row_axis=replace(axis, start=axis.start + rows.start),
    )


def table(shown: HeadView, area: Area, memo: Memo) -> Matrix | Edges:
    """The exact numbers of what is on screen.

    Raises:
        AttnVizError: the layer holds no such thing, with the reason.
    """
    trace, i, head = shown.trace, shown.layer.index, shown.head
    if shown.view == "Lines":
        return memo(("edges", i), lambda: strong_edges(trace, i))
    if shown.view == "Neuron":
        query = shown.layer.n_q - 1 if shown.query is None else shown.query
        return memo(
            ("one query", i, head, query), lambda: matrices.one_query(trace, i, head, query)
        )
    viewport = area.viewport
    if shown.view in MAPS or shown.view == IMAGE:
        quantity = MAPS.get(shown.view, "weights")
        rows, cols = (slice(*viewport.rows), slice(*viewport.cols)) if viewport else (None, None)
        return memo(
            ("pairs", quantity, i, head, viewport and (viewport.rows, viewport.cols)),
            lambda: matrices.attention(trace, i, head, quantity, rows, cols),
        )
    vectors = _vectors(shown, vectors_window(shown), memo)
    if viewport is None:
        return vectors
    rows, cols = slice(*viewport.rows), slice(*viewport.cols)
    return replace(
        vectors,
        values=vectors.values[rows, cols],
        rows=vectors.rows[rows],
        cols=vectors.cols[cols],
    )


def vectors_window(shown: HeadView) -> slice:
    """The tokens whose vectors are shown, around the one in focus where there are too many."""
    i, which = shown.layer.index, VECTORS[shown.view]
    return matrices.vectors_window(shown.trace, i, shown.head, which, around=shown.query or 0)


def _vectors(shown: HeadView, rows: slice, memo: Memo) -> Matrix:
    """Q, K, V or the output of some tokens."""
    trace, i, head, which = shown.trace, shown.layer.index, shown.head, VECTORS[shown.view]
    return memo(
        (which, i, head, rows.start, rows.stop),
        lambda: matrices.vectors(trace, i, head, which, rows),
    )
