"""A layer of the lab's own: random weights, and every setting a control."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.analysis.code_export import lab_code
from attnviz.ui.error_display import attempt
from attnviz.ui.lab.flow_view import flow
from attnviz.ui.lab.frame import to_take_home
from attnviz.ui.lab.layer_controls import FIRST, sidebar
from attnviz.ui.lab.presets import presets
from attnviz.ui.lab.text_input import text_input

STALE = "Not what the controls say: the last layer that worked."


def random_layer(line: DeltaGenerator) -> None:
    """Draw the controls and the layer.

    Args:
        line: the page's first line, which presets go into.
    """
    controls = sidebar()
    with line:
        presets()
    tokenize = text_input(controls.paired)
    text_errors = st.container()

    # Where a text or a setting doesn't work, the last view that did stays, and says so.
    texts = attempt(tokenize, text_errors)
    lab = attempt(lambda: controls.lab(*texts), controls.errors) if texts else None
    stale = "" if lab else STALE
    if lab is None:
        lab = st.session_state.get("_lab") or FIRST
    st.session_state["_lab"] = lab

    steps = lab.steps()
    head = None if controls.head is None else min(controls.head, lab.config.n_heads - 1)
    flow(steps, lab, head, stale)
    to_take_home(steps, lab, lambda: lab_code(lab, head or 0), "layer")
