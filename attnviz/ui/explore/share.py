"""Share: the link to what is on screen, and where it works."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.ui import query_params
from attnviz.ui.served_component import served_component

if TYPE_CHECKING:
    from attnviz.trace.requests import ModelChoice

_KEPT = {"text": "text", "target": "decoder input", "pair": "second sentence", "image": "image"}


def menu(choice: ModelChoice) -> None:
    """Draw the menu. The browser copies its own address: the canvases' settings are in it too."""
    with st.popover("Share", icon=":material/share:"):
        st.caption("The link restores this view: model, input, head, focus, pins and settings.")
        served_component("share", '<div class="share-link"></div>\n', "sharelink.js")(key="share")
        st.caption(_where(choice))


def _where(choice: ModelChoice) -> str:
    """On which servers the link works."""
    here = [
        f"its {name} is kept here"
        for key, name in _KEPT.items()
        if query_params.read(query_params.kept_name(key))
    ]
    if Path(choice.name).is_absolute():
        here.append("its model is a file here")
    if here:
        return f"It works on this server only: {', and '.join(here)}."
    return "It works on every server that has the model, with that server's address in front."
