"""The files of what Explore shows: the view of a head, and the whole trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from attnviz.analysis import matrices
from attnviz.analysis.verdict import verdict
from attnviz.canvas.bundle import as_html
from attnviz.canvas.naming import layer_name
from attnviz.canvas.page import page_html
from attnviz.ui.explore import head_grid
from attnviz.ui.explore.head_payload import Area, HeadView, payload, table
from attnviz.ui.explore.head_view import area_on_screen
from attnviz.ui.trace_cache import trace_memo
from attnviz.ui.waiting import no_report


def menu(shown: HeadView) -> None:
    """Draw the menu. Each file is made when it is downloaded, of what is on screen then."""
    memo = trace_memo(shown.trace, no_report)  # no page is running when a file is made
    layer, head = shown.layer.index, shown.head
    name = _file_name(f"{_model_name(shown)} layer{layer} head{head} {shown.view}")
    seen = area_on_screen()
    with st.popover("Export", icon=":material/download:"):
        with st.container(horizontal=True, gap="small"):
            _download(
                "CSV", lambda: table(shown, seen[0], memo).csv(), f"{name}.csv", "text/csv",
                "The exact numbers on screen with their tokens, for spreadsheets and pandas.",
            )  # fmt: skip
            _download(
                "NPZ", lambda: table(shown, seen[0], memo).npz(), f"{name}.npz",
                "application/octet-stream", "The exact numbers on screen, for NumPy.",
            )  # fmt: skip
            _download(
                "HTML", lambda: _html(shown, seen[0]), f"{name}.html", "text/html",
                "This view as one HTML file that opens offline in any browser.",
            )  # fmt: skip
        _download(
            "Whole trace",
            lambda: memo(("page", layer, head), lambda: _page(shown)),
            f"{_file_name(_model_name(shown))}-trace.html",
            "text/html",
            "Every head of every layer in one HTML file, computed in the reader's browser: no "
            "server, no model, works offline.",
        )
        _download(
            "Heads as CSV",
            lambda: _heads_csv(shown),
            f"{_file_name(_model_name(shown))}-heads.csv",
            "text/csv",
            "One row per head, with all its metrics.",
            disabled=not head_grid.is_read(shown.trace),
        )
        st.caption("Pictures (PNG, SVG): **Save**, above each picture.")
        st.caption("**Copy as code** reproduces these numbers with the attnviz package.")
        st.code(shown.code, language="python")


def _model_name(shown: HeadView) -> str:
    return shown.ref.choice.name.rsplit("/", 1)[-1]  # a folder's path is private


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _html(shown: HeadView, area: Area) -> str:
    """This view as a page: what it is of, and how its numbers were checked."""
    memo = trace_memo(shown.trace, no_report)
    title = f"{shown.view} of {layer_name(shown.trace, shown.layer.index)}, head {shown.head}"
    whole = area._replace(viewport=area.viewport and replace(area.viewport, have=""))
    _, _, checked = verdict(shown.layer, shown.trace.fidelity(shown.layer.index, rows="recorded"))
    return as_html(payload(shown, whole, memo), title, source=shown.ref.source, receipt=checked)


def _heads_csv(shown: HeadView) -> str:
    trace = shown.trace
    return matrices.metrics(trace, head_grid.read_grid(trace, no_report).metrics).csv()


def _page(shown: HeadView) -> str:
    selected = (shown.layer.index, shown.head)
    return page_html(shown.trace, title=_model_name(shown), selected=selected)


def _download(
    label: str,
    make: Callable[[], str | bytes],
    name: str,
    mime: str,
    help: str,
    *,
    disabled: bool = False,
) -> None:
    st.download_button(
        label,
        make,
        file_name=name,
        mime=mime,
        icon=":material/download:",
        on_click="ignore",
        help=help,
        key=f"download_{label}",
        disabled=disabled,
    )
