"""One head on the canvas in any of its views, with what is on screen in the link."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.canvas import CanvasState, TokenRef, Viewport, lacks_grid, shows_image
from attnviz.ui import query_params
from attnviz.ui.canvas import canvas, canvas_state
from attnviz.ui.error_display import attempt
from attnviz.ui.explore import focus
from attnviz.ui.explore.head_payload import (
    IMAGE,
    MAPS,
    VECTORS,
    Area,
    HeadView,
    payload,
    vectors_window,
)
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.waiting import queue_status

if TYPE_CHECKING:
    from attnviz.trace.trace import AttentionLayer
    from attnviz.ui.generate.results import TraceRef

HEIGHT = 420  # at least; more where the window has room

# Each view's name, on the control, in links and in file names, and what it is.
VIEWS = {
    IMAGE: "One query's weights on the image, patch by patch, beside the image as it was given.",
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
    IMAGE: r"W_i = \mathrm{softmax}(S_i)",
    "Map": r"W = \mathrm{softmax}(S)",
    "Scores": r"S = \frac{Q K^\top}{\sqrt{d_{head}}} + \mathrm{bias} + \mathrm{mask}",
    "Lines": r"W_{ij} \ge \mathrm{threshold}",
    "Neuron": r"q_i \cdot k_j = \sum_d q_{id}\, k_{jd}",
    "Output": r"O = W V",
}

_AREA = "_area_on_screen"
_ZOOM = "zoom"  # the query parameter: m or v, rows, columns
_AXES = dict.fromkeys(MAPS, "m") | dict.fromkeys(VECTORS, "v")  # views of one letter share a zoom
_OF_IMAGE = "_view_of_image"
_PAGE_CHANGED = "_page_changed"


def area_on_screen() -> list[Area]:
    """One item: the part of the view on screen, which a file made later holds too."""
    area: list[Area] = st.session_state.setdefault(_AREA, [Area()])
    return area


def _choose_view(of_image: bool) -> str:
    """Draw the control for the view.

    Args:
        of_image: whether the head attends to the patches of an image, which is then shown first.
    """
    views = [name for name in VIEWS if of_image or name != IMAGE]
    was_of_image = st.session_state.setdefault(_OF_IMAGE, of_image)
    if was_of_image != of_image and not query_params.read("show"):
        st.session_state.pop("show", None)  # the default of the other kind of input
    st.session_state[_OF_IMAGE] = of_image
    return st.segmented_control(
        "View",
        views,
        default=views[0],
        required=True,
        wrap=True,
        label_visibility="collapsed",
        key="show",
        bind="query-params",
        on_change=_rerun_page,
        help="  \n".join(f"**{name}** {what}" for name, what in VIEWS.items() if name in views),
    )


def _rerun_page() -> None:
    """Follow a change that other panes show too, in a callback of the fragment."""
    st.session_state[_PAGE_CHANGED] = True


@st.fragment
def draw(ref: TraceRef, layer: AttentionLayer, head: int, focused: TokenRef | None) -> str:
    """The control for the view, the canvas, and its files; returns the view.

    Zooming reruns this fragment alone. A chosen token or view reruns the page.

    Args:
        focused: where the layer's map has the token in focus.
    """
    if st.session_state.pop(_PAGE_CHANGED, False):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view, waiting = _choose_view(shows_image(ref.trace, layer.index)), st.empty()
    if reason := lacks_grid(ref.trace, layer.index):
        st.caption(reason)
    shown = HeadView(ref, layer, head, view, focused)
    memo = trace_memo(shown.trace, queue_status(waiting, "Drawing"))
    key = f"canvas_{_AXES.get(view, view.lower())}"
    area = _linked_area(shown, canvas_state(key))
    area_on_screen()[0] = area
    data = attempt(lambda: payload(shown, area, memo))
    waiting.empty()
    if data is None:
        return view
    if view in VECTORS and (rows := vectors_window(shown)) != slice(0, shown.n_vectors):
        of = f"{shown.n_vectors:,}, centered on the selected one."
        st.caption(f"Tokens {rows.start:,} to {rows.stop - 1:,} of {of}")
    canvas(
        data,
        key=key,
        height=HEIGHT,
        fills=True,
        source=shown.ref.source,
        on_change=lambda state, what: _link(shown, state, what),
    )
    return view


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
    _rerun_page()


def _zoom(shown: HeadView, viewport: Viewport | None) -> str | None:
    if viewport is None:
        return None
    (r0, r1), (c0, c1) = viewport.rows, viewport.cols
    return f"{_AXES.get(shown.view)}{r0}-{r1}.{c0}-{c1}"
