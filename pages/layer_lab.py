"""Layer lab: one attention layer, every knob of it, and every matrix on its way."""

from __future__ import annotations

from functools import partial

import streamlit as st

import attnviz.ui  # noqa: F401 (before torch, which the analysis loads)
from attnviz.analysis.code_export import lab_code
from attnviz.analysis.export import lab_csv, lab_npz
from attnviz.ui.error_display import attempt
from attnviz.ui.lab.flow import flow
from attnviz.ui.lab.layer_controls import FIRST, sidebar
from attnviz.ui.lab.layout import header
from attnviz.ui.lab.presets import presets
from attnviz.ui.lab.sections import formula_list
from attnviz.ui.lab.text_input import text_input
from attnviz.ui.memory import freeze_gc

st.cache_resource(freeze_gc, show_spinner=False)()
top = header()
controls = sidebar()
with top:
    presets()
tokenize = text_input(controls.paired)
text_errors = st.container()

# Where a text or a setting doesn't work, the last view that did stays, and says so.
texts = attempt(tokenize, text_errors)
lab = attempt(lambda: controls.lab(*texts), controls.errors) if texts else None
stale = "" if lab else "These are not the settings above: the last that worked are shown."
if lab is None:
    lab = st.session_state.get("_lab") or FIRST
st.session_state["_lab"] = lab

steps = lab.steps()
head = None if controls.head is None else min(controls.head, lab.config.n_heads - 1)
flow(steps, lab, head, stale)

more = partial(st.expander, on_change="rerun", bind="query-params")
formulas = more("Formulas", icon=":material/functions:", key="formulas")
if formulas.open:
    with formulas:
        names = [stage.name for stage in steps.stages]
        formula_list(lab.config, steps.context is not None, names)
program = more("Copy as code", icon=":material/code:", key="code")
if program.open:
    program.caption("Reproduces these numbers with the attnviz package.")
    program.code(lab_code(lab, head or 0), language="python")
with st.container(horizontal=True):
    # Each file is made when it is downloaded, not on every run.
    save = partial(st.download_button, on_click="ignore", icon=":material/download:")
    save("Matrices as CSV", lambda: lab_csv(steps, lab), "layer.csv", "text/csv")
    save("Matrices as NPZ", lambda: lab_npz(steps), "layer.npz", "application/octet-stream")
