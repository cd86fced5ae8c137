"""One head on the canvas in any of its views, its place in the link, what is in view as files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from attnviz.analysis import matrices
from attnviz.analysis.code_export import trace_code
from attnviz.analysis.edges import Edges, strong_edges
from attnviz.canvas import (
    CanvasState,
    TokenRef,
    Viewport,
    lines_payload,
    map_payload,
    matrix_payload,
    neuron_payload,
)
from attnviz.canvas.bundle import Payload, as_html
from attnviz.canvas.naming import layer_name, token_names, trace_id
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.error_display import attempt
from attnviz.ui.explore import focus
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.waiting import no_report, queue_status

if TYPE_CHECKING:
    from attnviz.analysis.matrices import Matrix, Vectors
    from attnviz.analysis.overviews import Quantity
    from attnviz.canvas.memo import Memo
    from attnviz.trace.trace import AttentionLayer, Trace
    from attnviz.ui.generate.running import TraceRef

HEIGHT = 640

# Each view's name, on the control, in links and in file names, and what it is.
VIEWS = {
    "Map": "Softmax of the scores: how much of each key's value a query takes.",
    "Scores": "Scaled query · key products, biased and masked, before the softmax.",
    "Lines": "All heads of the layer as lines from queries to keys.",
    "Neuron": "One query against each key, element by element: q, k, q∘k, their sum, the weight.",
    "Q": "Queries as they enter the product, after any rotation.",
    "K": "Keys as they enter the product, after any rotation.",
    "V": "Values, whose mean, weighted, is the head's output.",
    "Output": "Weights @ V: what this head gives, before W_O.",
}

FORMULAS = {
    "Map": r"W = \mathrm{softmax}(S)",
    "Scores": r"S = \frac{Q K^\top}{\sqrt{d_{head}}} + \mathrm{bias} + \mathrm{mask}",
    "Lines": r"W_{ij} \ge \mathrm{threshold}",
    "Neuron": r"q_i \cdot k_j = \sum_d q_{id}\, k_{jd}",
    "Output": r"O = W V",
}

_VECTORS: dict[str, Vectors] = {"Q": "Q", "K": "K", "V": "V", "Output": "Output"}
_PLACES = {"Map": "m", "Scores": "m", "Q": "v", "K": "v", "V": "v", "Output": "v"}


class Head(NamedTuple):
    """Which head is looked at, how, and with which token in mind."""

    seen: TraceRef
    layer: AttentionLayer
    head: int
    view: str
    at: TokenRef | None  # the focus, where this layer's map has it

    @property
    def trace(self) -> Trace:
        """What it is a head of. A fragment and its callbacks hold its key alone."""
        return self.seen.trace

    @property
    def query(self) -> int | None:
        """The focus, if it is a query."""
        return self.at.index if self.at is not None and self.at.side == "row" else None

    @property
    def program(self) -> str:
        """Python that computes what is shown."""
        choice, request = self.seen.choice, self.seen.request
        return trace_code(choice, request, self.layer, self.head, self.view, self.query)


@st.fragment
def draw(shown: Head) -> None:
    """The canvas with its downloads. Moves on it rerun this alone; a chosen token, the page."""
    if st.session_state.pop("_focus_moved", False):
        st.rerun()
    trace, layer, head, view = shown.trace, shown.layer, shown.head, shown.view
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(VIEWS[view])
        if view in FORMULAS:
            st.latex(FORMULAS[view], width="content")
        waiting = st.empty()
    remember = trace_memo(trace, queue_status(waiting, "Drawing"))
    key = f"canvas_{_PLACES.get(view, view.lower())}"
    place = _in_link(shown, canvas_state(key))
    payload = attempt(lambda: _payload(shown, place, remember))
    waiting.empty()
    if payload is None:
        return
    canvas(payload, key=key, height=HEIGHT, on_change=lambda said, what: _told(shown, said, what))
    if view in _VECTORS and (rows := _rows(shown)) != slice(0, _tokens(shown)):
        of = f"{_tokens(shown):,}, around the one in focus."
        st.caption(f"Tokens {rows.start:,} to {rows.stop - 1:,} of {of}")
    later = trace_memo(trace, no_report)  # no page is there when a file is made
    title = f"{view} of {layer_name(trace, layer.index)}, head {head}"
    name = f"layer{layer.index}-head{head}-{view.lower()}"
    with st.container(horizontal=True):
        _download(
            "CSV", lambda: _table(shown, place, later).csv(), f"{name}.csv", "text/csv",
            "The exact numbers in view with their tokens, for spreadsheets and pandas.",
        )  # fmt: skip
        _download(
            "NPZ", lambda: _table(shown, place, later).npz(), f"{name}.npz",
            "application/octet-stream", "The exact numbers in view, for NumPy.",
        )  # fmt: skip
        _download(
            "HTML", lambda: as_html(_payload(shown, _to_keep(place), later), title), f"{name}.html",
            "text/html", "One file with this canvas; it opens offline in any browser.",
        )  # fmt: skip
        with st.popover("Copy as code", icon=":material/code:"):
            st.caption("The same numbers, with attnviz alone.")
            st.code(shown.program, language="python")


def _download(label: str, make: Callable[[], str | bytes], name: str, mime: str, help: str) -> None:
    """A file that is made when somebody asks for it."""
    st.download_button(
        label,
        make,
        file_name=name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        help=help,
        key=f"download_{label}",
    )


class _Place(NamedTuple):
    """What of a view is on screen, from the link or from what the canvas said."""

    view: Viewport | None = None
    cell: tuple[int, int] | None = None


def _in_link(shown: Head, said: CanvasState) -> _Place:
    shape = (shown.layer.n_q, shown.layer.n_k)
    letter = _PLACES.get(shown.view)
    found = re.fullmatch(
        r"([mv])(\d{1,7})-(\d{1,7})\.(\d{1,7})-(\d{1,7})", st.query_params.get("zoom", "")
    )
    view = None
    if found is not None and found[1] == letter:
        r0, r1, c0, c1 = map(int, found.groups()[1:])
        if r0 < r1 and c0 < c1 and (letter == "v" or (r1 <= shape[0] and c1 <= shape[1])):
            view = Viewport((r0, r1), (c0, c1), said.view.have if said.view else "")
    return _Place(view, focus.cell_in(shown.layer) if letter == "m" else None)


def _told(shown: Head, said: CanvasState, what: str) -> None:
    """Keep what was done on the canvas in the link."""
    if what == "view":
        if said.view is None:
            st.query_params.pop("zoom", None)
        else:
            (r0, r1), (c0, c1) = said.view.rows, said.view.cols
            st.query_params["zoom"] = f"{_PLACES.get(shown.view)}{r0}-{r1}.{c0}-{c1}"
        return
    at = said.token if what == "token" else None
    if what == "query" and said.query is not None:
        at = TokenRef("row", said.query)
    if what == "cell":
        if said.cell is None or shown.view not in ("Map", "Scores"):
            return
        focus.choose_cell(shown.trace, shown.layer, said.cell)
    else:
        trace = shown.trace
        focus.choose(trace, focus.from_map(trace, shown.layer, at))
    st.session_state["_focus_moved"] = True


def _payload(shown: Head, place: _Place, remember: Memo) -> Payload:
    """What is sent for a view.

    Raises:
        AttnVizError: the layer holds no such thing, with the reason.
    """
    trace, i, head, view = shown.trace, shown.layer.index, shown.head, shown.view
    if view in ("Map", "Scores"):
        return map_payload(
            trace,
            i,
            head,
            place.view,
            quantity="weights" if view == "Map" else "scores",
            cell=place.cell,
            focus=None if shown.at is None else (shown.at.side, shown.at.index),
            report=True,
            memo=remember,
        )
    if view == "Lines":
        token = None if shown.at is None else (shown.at.side, shown.at.index)
        return lines_payload(trace, i, token=token, memo=remember)
    if view == "Neuron":
        query = shown.query
        return remember(("neuron", i, head, query), lambda: neuron_payload(trace, i, head, query))
    rows = _rows(shown)
    matrix = _vectors(shown, rows, remember)
    tokens = trace.col_tokens(i) if view in ("K", "V") else trace.row_tokens(i)
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
        view=place.view,
        focus=None if shown.query is None else shown.query - rows.start,
        report=True,
    )


def _vectors(shown: Head, rows: slice, remember: Memo) -> Matrix:
    """Q, K, V or the output of some tokens."""
    trace, i, head, which = shown.trace, shown.layer.index, shown.head, _VECTORS[shown.view]
    return remember(
        (which, i, head, rows.start, rows.stop),
        lambda: matrices.vectors(trace, i, head, which, rows),
    )


def _table(shown: Head, place: _Place, remember: Memo) -> Matrix | Edges:
    """The exact numbers of what is in view.

    Raises:
        AttnVizError: the layer holds no such thing, with the reason.
    """
    trace, i, head, view = shown.trace, shown.layer.index, shown.head, shown.view
    if view == "Lines":
        return remember(("edges", i), lambda: strong_edges(trace, i))
    if view == "Neuron":
        query = shown.layer.n_q - 1 if shown.query is None else shown.query
        return remember(
            ("one query", i, head, query), lambda: matrices.one_query(trace, i, head, query)
        )
    rows, cols = (slice(*place.view.rows), slice(*place.view.cols)) if place.view else (None, None)
    if view in ("Map", "Scores"):
        of: Quantity = "weights" if view == "Map" else "scores"
        return remember(
            ("pairs", of, i, head, place.view and (place.view.rows, place.view.cols)),
            lambda: matrices.attention(trace, i, head, of, rows, cols),
        )
    found = _vectors(shown, _rows(shown), remember)
    if rows is None or cols is None:
        return found
    return replace(
        found, values=found.values[rows, cols], rows=found.rows[rows], cols=found.cols[cols]
    )


def _to_keep(place: _Place) -> _Place:
    """The same place for a reader who holds nothing yet."""
    return place._replace(view=place.view and replace(place.view, have=""))


def _rows(shown: Head) -> slice:
    """The tokens whose vectors are shown: all, or as many as are sent, around the focus."""
    a = shown.trace.attention(shown.layer.index, shown.head)
    n = _tokens(shown)
    wide = (a.q if shown.view in ("Q", "K") else a.v).shape[1]
    most = max(1, matrices.MAX_CELLS // wide)
    start = max(0, min((shown.query or 0) - most // 2, n - most))
    return slice(start, min(n, start + most))


def _tokens(shown: Head) -> int:
    """How many tokens have such a vector."""
    return shown.layer.n_k if shown.view in ("K", "V") else shown.layer.n_q
