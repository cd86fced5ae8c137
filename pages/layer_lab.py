"""Layer lab: every matrix of one attention layer, its own or a model's, and every knob of it."""

from __future__ import annotations

import streamlit as st

import attnviz.ui  # noqa: F401 (before torch, which the analysis loads)
from attnviz.ui.lab.frame import header
from attnviz.ui.lab.model_head import model_head
from attnviz.ui.lab.random_layer import random_layer
from attnviz.ui.memory import freeze_gc

st.cache_resource(freeze_gc, show_spinner=False)()
weights, line = header()
if weights == "random":
    random_layer(line)
else:
    model_head()
