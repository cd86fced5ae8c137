"""Which weight is selected, by a click in the flow or by keyboard; all of it is in the link."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.glossary import term

if TYPE_CHECKING:
    from attnviz.ui.lab.flow_view import Shown

Cell = tuple[int, int, int]  # head, query, key


def choose_cell(shown: Shown, head: int | None) -> Cell | None:
    """Draw the controls; None until there are a query and a key.

    Args:
        head: the head that is shown; None where all are, and then one is chosen as well.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**One weight, step by step.** Click a cell of the weights, or choose:")
        query = _choose("Query", "query_lab", numbered(shown.query_tokens), term("query"))
        key = _choose("Key", "key_lab", numbered(shown.key_tokens), term("key"))
        if head is None:
            heads = [f"{h}" for h in range(shown.config.n_heads)]
            head = _choose("Head", "cell_head", heads, term("head"))
    return None if query is None or key is None else (head or 0, query, key)


def put_cell(shown: Shown, head: int | None, query: int, key: int) -> None:
    """Put a clicked weight into the controls; only in a callback. One that isn't there is ignored.

    Args:
        head: where heads stand side by side, the one that was clicked.
    """
    queries, keys = numbered(shown.query_tokens), numbered(shown.key_tokens)
    if query < len(queries) and key < len(keys):
        st.session_state["query_lab"], st.session_state["key_lab"] = queries[query], keys[key]
        if head is not None and head < shown.config.n_heads:
            st.session_state["cell_head"] = str(head)


def numbered(tokens: Iterable[str]) -> list[str]:
    """Options for tokens: with its position, a repeated word is two options."""
    return [f"{i} · {token}" for i, token in enumerate(tokens)]


def _choose(label: str, key: str, options: list[str], help: str) -> int | None:
    if st.session_state.get(key) not in (None, *options):
        st.session_state[key] = options[-1]  # a shorter text, or fewer heads
    chosen = st.selectbox(
        label,
        options,
        None,
        key=key,
        placeholder=label.lower(),
        help=help,
        bind="query-params",
        width=150,
        label_visibility="collapsed",
    )
    return None if chosen is None else options.index(chosen)
