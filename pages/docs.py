"""Docs: the guide, the glossary, the metrics and the decisions, as they are in the repository."""

from __future__ import annotations

import streamlit as st

from attnviz.ui import query_params
from attnviz.ui.documents import FIRST, documents, text, title

pages = documents()
names = list(pages)
linked = query_params.read("page")


def write() -> None:
    """Put the chosen document into the link."""
    chosen = st.session_state["document"]
    query_params.write("page", None if chosen == FIRST else chosen)


left, right = st.columns([1, 3], gap="large")
with left:
    st.header("Docs", anchor=False)
    name = st.radio(
        "Document",
        names,
        index=names.index(linked if linked in names else FIRST),
        key="document",
        format_func=lambda name: title(pages[name]),
        on_change=write,
        label_visibility="collapsed",
    )
with right:
    st.markdown(text(pages[name]))
