"""The models that were saved from trainings, which every model list shows; they can be removed."""

from __future__ import annotations

import streamlit as st

from attnviz.train.model_export import remove_from_catalog, saved_models
from attnviz.ui.error_display import attempt, escape_markdown

_SAYS = "_model_removed"  # of the session state: what the next run says


def saved_model_list() -> None:
    """Each saved model with a button that removes it, after a question."""
    names = saved_models()
    if removed := st.session_state.pop(_SAYS, None):
        st.success(escape_markdown(f'Removed "{removed}".'))
    if not names:
        return
    st.markdown("##### Saved models")
    with st.container(horizontal=True, gap="small"):  # wraps
        for name in names:
            with (
                st.container(border=True, width="content"),
                st.container(horizontal=True, vertical_alignment="center"),
            ):
                st.markdown(escape_markdown(name), width="content")
                _remove_button(name)


def _remove_button(name: str) -> None:
    with st.popover("Remove", icon=":material/delete:", type="tertiary"):
        st.markdown(
            escape_markdown(f'Remove "{name}" from the model lists and delete its files?')
            + " This cannot be undone."
        )
        clicked = st.button("Remove model", key=f"remove_{name}", type="primary")
        if clicked and attempt(lambda: _removed(name)):
            st.session_state[_SAYS] = name
            st.rerun()


def _removed(name: str) -> bool:
    remove_from_catalog(name)
    return True
