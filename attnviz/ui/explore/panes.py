"""Explore's panes: tokens above; heads, the selected head and its explanation side by side."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

_CSS = Path(__file__).with_suffix(".css")


class Panes(NamedTuple):
    """The places for the parts of the page.

    In a window of 1,150 px or more they are side by side down to its lower edge; in a narrower one
    they follow each other: tokens, head, explanation, grid.
    """

    tokens: DeltaGenerator
    grid: DeltaGenerator
    head: DeltaGenerator
    explanation: DeltaGenerator


def style() -> None:
    """The page's style; first of all, so that nothing moves when the panes come."""
    st.html(_CSS)


def panes() -> Panes:
    """Lay the page out."""
    tokens = st.container(key="tokens_pane")
    with st.container(key="panes"):
        grid = st.container(key="grid_pane", gap="small")
        head = st.container(key="head_pane", gap="small")
        explanation = st.container(key="explanation", gap="small")
    return Panes(tokens, grid, head, explanation)
