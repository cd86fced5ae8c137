"""A choice that a link carries by a short name, whatever it is called on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st


def linked_choice(
    draw: Callable[..., Any], label: str, titles: Mapping[str, str], *, key: str, **options: Any
) -> str:
    """One of ``titles``' names; the first is the default and is left out of the link.

    Args:
        draw: ``st.pills`` or ``st.segmented_control``.
        titles: what each name is called on the screen. Links held these once, and still open.
        options: more of ``draw``'s arguments.
    """
    names = list(titles)
    said, seen = st.query_params.get(key), f"_link_{key}"
    if said is not None and said != st.session_state.get(seen):
        st.session_state[seen] = said
        if found := [name for name in names if said in (name, titles[name])]:
            st.session_state[key] = found[0]
    if st.session_state.get(key) not in titles:
        st.session_state[key] = names[0]
    chosen: str = draw(
        label,
        names,
        required=True,
        key=key,
        format_func=titles.__getitem__,
        persist_state="session",
        **options,
    )
    link = None if chosen == names[0] else chosen
    if link != said:
        st.session_state[seen] = link
        if link is None:
            del st.query_params[key]
        else:
            st.query_params[key] = link
    return chosen
