"""The frame of the Layer lab: its style, its first line, what can be taken home."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.analysis.export import lab_csv, lab_npz
from attnviz.analysis.lab import Lab
from attnviz.analysis.real_head import RealHead
from attnviz.nn import AttentionSteps
from attnviz.ui.lab.sections import formula_list
from attnviz.ui.query_params import linked_choice

_CSS = Path(__file__).with_suffix(".css")
_WEIGHTS: Final = {"random": "Random weights", "head": "A real head"}


def header() -> tuple[str, DeltaGenerator]:
    """Draw the page's name and whose weights it shows: "random" or "head"; more goes beside it."""
    st.html(_CSS)
    line = st.container(key="lab_header", horizontal=True, vertical_alignment="center")
    line.header("Layer lab", anchor=False, width="content")
    whose = linked_choice(
        line.segmented_control,
        "Whose weights",
        _WEIGHTS,
        key="weights",
        label_visibility="collapsed",
        help="Weights are random until you load a head of a model: then every step has the "
        "model's own numbers.",
    )
    return whose, line


def to_take_home(
    steps: AttentionSteps, shown: Lab | RealHead, code: Callable[[], str], name: str
) -> None:
    """Draw formulas and code, which open, and buttons for files.

    Args:
        code: makes the program that computes the same. name: of the files.
    """
    more = partial(st.expander, on_change="rerun", bind="query-params")
    formulas = more("Formulas", icon=":material/functions:", key="formulas")
    if formulas.open:
        with formulas:
            stages = [stage.name for stage in steps.stages]
            formula_list(shown.config, steps.context is not None, stages)
    program = more("Copy as code", icon=":material/code:", key="code")
    if program.open:
        program.caption("Reproduces these numbers with the attnviz package.")
        program.code(code(), language="python")
    with st.container(horizontal=True):
        # Each file is made when it is downloaded, not on every run.
        save = partial(st.download_button, on_click="ignore", icon=":material/download:")
        save("Matrices as CSV", lambda: lab_csv(steps, shown), f"{name}.csv", "text/csv")
        npz = "application/octet-stream"
        save("Matrices as NPZ", lambda: lab_npz(steps), f"{name}.npz", npz)
