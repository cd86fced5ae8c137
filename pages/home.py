"""Home: one sentence in a real model, one layer to turn, and where to go from there."""

from __future__ import annotations

import streamlit as st

import attnviz.ui  # noqa: F401 (before torch, which is loaded behind this page)
from attnviz.ui.home import parts

parts.masthead()
with st.container(horizontal=True, horizontal_alignment="distribute"):
    left, right = st.container(width=780), st.container(width=460)
with left:
    text = parts.sentence()
with right:
    parts.layer(text)
parts.examples()
