"""One head on the canvas in any of its views, with what is on screen in the link and as files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from attnviz.analysis.verdict import verdict
from attnviz.canvas import CanvasState, TokenRef, Viewport
from attnviz.canvas.bundle import as_html
from attnviz.canvas.naming import layer_name
from attnviz.canvas.page import page_html
from attnviz.ui import query_params
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.error_display import attempt
from attnviz.ui.explore import focus
from attnviz.ui.explore.head_payload import (
    MAPS,
    VECTORS,
    Area,
    HeadView,
    payload,
    table,
    vectors_window,
)
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.waiting import no_report, queue_status

HEIGHT = 420  # at least; more where the window has room

# Each view's name, on the control, in links and in file names, and what it is.
VIEWS = {
    "Map": "Attention weights: the softmax of each query's scores.",
    "Scores": "Scaled query–key dot products, with bias and mask, before the softmax.",
    "Lines": "All heads of the layer, with a line from each query to the keys it attends to.",
    "Neuron": "One query against each key, dimension by dimension: q, k, q∘k, q·k and the weight.",
    "Q": "Query vectors as used in q·k, after any rotary embedding.",
    "K": "Key vectors as used in q·k, after any rotary embedding.",
    "V": "Values. The head's output is their attention-weighted sum.",
    "Output": "Weights @ V: this head's output, before W_O.",
}

FORMULAS = {
    "Map": r"W = \mathrm{softmax}(S)",
    "Scores": r"S = \frac{Q K^\top}{\sqrt{d_{head}}} + \mathrm{bias} + \mathrm{mask}",
    "Lines": r"W_{ij} \ge \mathrm{threshold}",
    "Neuron": r"q_i \cdot k_j = \sum_d q_{id}\, k_{jd}",
    "Output": r"O = W V",
}

_ZOOM = "zoom"  # the query parameter: m or v, rows, columns
_AXES = dict.fromkeys(MAPS, "m") | dict.fromkeys(VECTORS, "v")  # views of one letter share a zoom
_FOCUS_MOVED = "_focus_moved"


def choose_view() -> str:
    """Draw the control for the view."""
    return st.segmented_control(
        "View",
        list(VIEWS),
        default="Map",
        required=True,
        wrap=True,
        label_visibility="collapsed",
        key="show",
        bind="query-params",
        help="  \n".join(f"**{name}** {what}" for name, what in VIEWS.items()),
    )


@st.fragment
def draw(shown: HeadView) -> None:
    """The canvas and its files. Zooming reruns this fragment alone; a chosen token, the page."""
    if st.session_state.pop(_FOCUS_MOVED, False):
        st.rerun()
    view = shown.view
    with st.container(horizontal=True, vertical_alignment="center"):
        files, waiting = st.container(horizontal=True, width="content"), st.empty()
    memo = trace_memo(shown.trace, queue_status(waiting, "Drawing"))
    key = f"canvas_{_AXES.get(view, view.lower())}"
    area = _linked_area(shown, canvas_state(key))
    data = attempt(lambda: payload(shown, area, memo))
    waiting.empty()
    if data is None:
        return
    if view in VECTORS and (rows := vectors_window(shown)) != slice(0, shown.n_vectors):
        of = f"{shown.n_vectors:,}, centered on the selected one."
        st.caption(f"Tokens {rows.start:,} to {rows.stop - 1:,} of {of}")
    with files:
        _files(shown, area)
    canvas(
        data,
        key=key,
        height=HEIGHT,
        fills=True,
        source=shown.ref.source,
        on_change=lambda state, what: _link(shown, state, what),
    )


def _files(shown: HeadView, area: Area) -> None:
    """The downloads of what is on screen, and the code that computes it."""
    memo = trace_memo(shown.trace, no_report)  # no page is running when a file is made
    layer, head, view = shown.layer.index, shown.head, shown.view
    title = f"{view} of {layer_name(shown.trace, layer)}, head {head}"
    name = f"layer{layer}-head{head}-{view.lower()}"
    whole = area._replace(viewport=area.viewport and replace(area.viewport, have=""))
    with st.popover("Export", icon=":material/download:"):
        _download(
            "CSV", lambda: table(shown, area, memo).csv(), f"{name}.csv", "text/csv",
            "The exact numbers on screen with their tokens, for spreadsheets and pandas.",
        )  # fmt: skip
        _download(
            "NPZ", lambda: table(shown, area, memo).npz(), f"{name}.npz",
            "application/octet-stream", "The exact numbers on screen, for NumPy.",
        )  # fmt: skip
        _download(
            "HTML", lambda: _html(shown, whole, title), f"{name}.html",
            "text/html", "This view as one HTML file that opens offline in any browser.",
        )  # fmt: skip
        _download(
            "Whole trace", lambda: memo(("page", layer, head), lambda: _page(shown)), "trace.html",
            "text/html", "Every head of every layer in one HTML file, computed in the reader's "
            "browser: no server, no model, works offline.",
        )  # fmt: skip
    with st.popover("Copy as code", icon=":material/code:"):
        st.caption("Reproduces these numbers with the attnviz package.")
        st.code(shown.code, language="python")


def _html(shown: HeadView, area: Area, title: str) -> str:
    """This view as a page: what it is of, and how its numbers were checked."""
    memo = trace_memo(shown.trace, no_report)
    _, _, checked = verdict(shown.layer, shown.trace.fidelity(shown.layer.index, rows="recorded"))
    return as_html(payload(shown, area, memo), title, source=shown.ref.source, receipt=checked)


def _page(shown: HeadView) -> str:
    name = shown.ref.choice.name.rsplit("/", 1)[-1]  # a folder's path is private
    return page_html(shown.trace, title=name, selected=(shown.layer.index, shown.head))


def _download(label: str, make: Callable[[], str | bytes], name: str, mime: str, help: str) -> None:
    """A file that is made when it is downloaded."""
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


def _linked_area(shown: HeadView, state: CanvasState) -> Area:
    """What the link says of the zoom and the picked cell, as far as this view has such an area."""
    letter = _AXES.get(shown.view)
    cell = focus.cell_in(shown.layer) if letter == "m" else None
    found = re.fullmatch(
        r"([mv])(\d{1,7})-(\d{1,7})\.(\d{1,7})-(\d{1,7})", query_params.read(_ZOOM)
    )
    if found is None or found[1] != letter:
        return Area(cell=cell)
    r0, r1, c0, c1 = map(int, found.groups()[1:])
    inside = letter == "v" or (r1 <= shown.layer.n_q and c1 <= shown.layer.n_k)
    if not (r0 < r1 and c0 < c1 and inside):
        return Area(cell=cell)
    have = state.view.have if state.view else ""
    return Area(Viewport((r0, r1), (c0, c1), have), cell)


def _link(shown: HeadView, state: CanvasState, changed: str) -> None:
    """Put a change on the canvas into the link."""
    if changed == "view":
        query_params.write(_ZOOM, _zoom(shown, state.view))
        return
    if changed == "cell":
        if state.cell is None or shown.view not in MAPS:
            return
        focus.choose_cell(shown.trace, shown.layer, state.cell)
    else:
        token = state.token if changed == "token" else None
        if changed == "query" and state.query is not None:
            token = TokenRef("row", state.query)
        trace = shown.trace
        focus.choose(trace, focus.from_map(trace, shown.layer, token))
    st.session_state[_FOCUS_MOVED] = True


def _zoom(shown: HeadView, viewport: Viewport | None) -> str | None:
    if viewport is None:
        return None
    (r0, r1), (c0, c1) = viewport.rows, viewport.cols
    return f"{_AXES.get(shown.view)}{r0}-{r1}.{c0}-{c1}"
