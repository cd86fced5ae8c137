"""Layer lab: one attention layer, every knob of it, and every matrix on its way."""

from __future__ import annotations

from functools import partial

import streamlit as st

import attnviz.ui  # noqa: F401 (before torch, which the analysis loads)
from attnviz.analysis.code_export import lab_code
from attnviz.analysis.export import lab_csv, lab_npz
from attnviz.ui.error_display import attempt
from attnviz.ui.lab import flow, layer_controls, text_input, weights_section
from attnviz.ui.memory import freeze_gc

st.cache_resource(freeze_gc, show_spinner=False)()
st.markdown("## Layer lab")
asked = layer_controls.sidebar()
read = text_input.read_text(paired=asked.stack["architecture"] == "encoder-decoder")
beside_text = st.container()

# A text or a setting that cannot be leaves the last picture that could.
texts = attempt(read, beside_text)
lab = attempt(lambda: asked.lab(*texts), asked.beside) if texts else None
if lab is None:
    lab = st.session_state.get("_lab") or layer_controls.FIRST
st.session_state["_lab"] = lab

steps = lab.steps()
head = None if asked.head is None else min(asked.head, lab.config.n_heads - 1)
number = 1
for section in flow.sections(lab.config, crossing=steps.context is not None):
    if "weights" in section.stages:
        weights_section.weights_and_cell(section, number, steps, lab, head)
        number += 1
    elif flow.show(section, number, steps, lab, head):
        number += 1

program = st.expander(
    "Copy as code", icon=":material/code:", key="code", on_change="rerun", bind="query-params"
)
if program.open:
    program.caption("The same numbers, with attnviz alone.")
    program.code(lab_code(lab, head or 0), language="python")
with st.container(horizontal=True):
    # Made when somebody asks for them, not on every run.
    save = partial(st.download_button, on_click="ignore", icon=":material/download:")
    save("Matrices as CSV", lambda: lab_csv(steps, lab), "layer.csv", "text/csv")
    save("Matrices as NPZ", lambda: lab_npz(steps), "layer.npz", "application/octet-stream")
