"""Home's parts on the page: one component with four views."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import streamlit as st

from attnviz.ui import query_params
from attnviz.ui.served_component import served_component

View = Literal["masthead", "sentence", "layer", "cards"]

PARAMETERS: Final = ("try", "width", "heads")  # what the views may put into the link
MAX_CHARACTERS: Final = 400


def show(view: View, data: Mapping[str, Any], *, announce: bool = False) -> Any:
    """Draw one part. What a person sets in it is in the link before the run that follows.

    Args:
        data: what the view's module in ``canvas/js/home/`` declares.
        announce: send a message when the picture is on screen.

    Returns:
        With ``go``, the name of what was clicked, and ``painted``; each for one run.
    """
    key = f"home_{view}"
    mount = served_component("home", '<div class="home"></div>\n', "home/parts.js")
    return mount(
        key=key,
        # Bytes: Streamlit loads pandas to see whether what is in a dictionary is a table.
        data=json.dumps({"view": view, "announce": announce, **data}).encode(),
        on_go_change=_nothing,
        on_painted_change=_nothing,
        on_set_change=lambda: _set(st.session_state[key].set),
    )


def _set(values: Any) -> None:
    """Put what a browser sent into the link."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            if name in PARAMETERS and isinstance(value, str):
                query_params.write(name, value[:MAX_CHARACTERS] or None)


def _nothing() -> None:
    """Streamlit passes on only the values that have a callback."""
