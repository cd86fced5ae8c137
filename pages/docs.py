"""Docs: the guide, the glossary, the metrics and the decisions, as they are in the repository."""

from __future__ import annotations

import streamlit as st

from attnviz.ui.documents import FIRST, documents, text, title

pages = documents()
names = list(pages)
if st.query_params.get("page") not in names:
    st.query_params.pop("page", None)
left, right = st.columns([1, 3], gap="large")
with left:
    st.header("Docs", anchor=False)
    name = st.radio(
        "Document",
        names,
        index=names.index(FIRST),
        key="page",
        format_func=lambda name: title(pages[name]),
        bind="query-params",
        label_visibility="collapsed",
    )
with right:
    st.markdown(text(pages[name]))
