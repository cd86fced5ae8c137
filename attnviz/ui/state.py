"""The view lives in the link.

Widgets bind themselves (``bind="query-params"``). A text box may hold more than a link can carry,
and is kept in step with it here.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import quote

import streamlit as st
from streamlit.errors import StreamlitAPIException

# Servers and chat programs cut addresses off at 8 KB; the rest of the view needs some of it.
LINK_BYTES = 6_000


def linked_text(
    label: str,
    *,
    key: str,
    default: str = "",
    height: int = 100,
    placeholder: str = "",
    help: str = "",
) -> str:
    """A text area whose text is in the link under ``key``, as long as the link can carry it."""
    _adopt_link(key, default)
    with st.container():  # beside other boxes the remark belongs below its own
        text = st.text_area(
            label,
            key=key,
            height=height,
            placeholder=placeholder,
            help=help or None,
            persist_state="session",
        )
        fits = len(quote(text)) <= LINK_BYTES
        _write_link(key, text if fits and text != default else None)
        if not fits:
            st.caption(
                ":material/link_off: Too long for a link, which carries the rest of the view."
            )
    return text


def _adopt_link(key: str, default: str) -> None:
    """Take the value from a link that somebody opened or went back to."""
    seen = f"_link_{key}"
    in_link = st.query_params.get(key)
    if in_link is not None and in_link != st.session_state.get(seen):
        st.session_state[key] = in_link
        st.session_state[seen] = in_link
    elif key not in st.session_state:
        st.session_state[key] = default


def _write_link(key: str, text: str | None) -> None:
    if text == st.query_params.get(key):
        return
    st.session_state[f"_link_{key}"] = text
    if text is None:
        del st.query_params[key]
    else:
        st.query_params[key] = text


def linked_index(label: str, n: int, *, key: str, help: str = "") -> int:
    """A slider over 0 .. n-1 that is in the link; a lone choice is shown but can't be moved."""
    if n <= 1:
        st.slider(label, 0, 1, disabled=True, key=f"{key}_only", help=help or None)
        return 0
    if st.session_state.get(key, 0) >= n:  # a smaller model than before
        st.session_state[key] = n - 1
    return st.slider(label, 0, n - 1, key=key, help=help or None, bind="query-params")


def linked_integer(
    where: Any,
    label: str,
    low: int,
    high: int,
    *,
    key: str,
    empty: bool = False,
    **options: Any,
) -> Any:
    """A box for an integer that is in the link: ``low`` at first, or None where it may be empty.

    Args:
        where: the place for it, or ``st`` itself. options: more of ``st.number_input``'s.
    """
    bind: Literal["query-params"] | None = "query-params"
    if _is_endless(st.query_params.get(key, "")):
        # Streamlit reads "inf" and 1e400 in a link as numbers, and fails where it makes integers of
        # them. This run's box leaves the link alone, and the next one finds nothing in it.
        bind = None
        with suppress(StreamlitAPIException):  # it belongs to the box that was there before
            del st.query_params[key]
    value = None if empty else "min"
    return where.number_input(label, low, high, value, key=key, bind=bind, **options)


def _is_endless(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False
