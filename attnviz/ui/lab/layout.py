"""The frame of the Layer lab: its style, and its first line."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

_CSS = Path(__file__).with_suffix(".css")


def header() -> DeltaGenerator:
    """Draw the page's name; more goes beside it."""
    st.html(_CSS)
    line = st.container(horizontal=True, vertical_alignment="center")
    line.markdown("#### Layer lab", width="content")
    line.caption("Weights are random: watch the arithmetic, not the pattern.", width="content")
    return line
