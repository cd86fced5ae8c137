"""From a head in Explore to the same head in the Layer lab.

Both pages have the same controls for model, text and head, and Streamlit clears a control's value
when its page is left. So what they hold is handed over in the session.
"""

from __future__ import annotations

from typing import Final

import streamlit as st

_HANDED: Final = "_handed_to_lab"
_CONTROLS: Final = (
    *("model", "device", "dtype", "text", "target", "pair", "digit", "kind", "layer", "head"),
)


def open_in_lab() -> None:
    """Switch to the Layer lab, with the head that is selected."""
    values = {key: st.session_state.get(key) for key in _CONTROLS}
    st.session_state[_HANDED] = {key: v for key, v in values.items() if v is not None}
    st.switch_page("pages/layer_lab.py", query_params={"weights": "head"})


def receive() -> None:
    """In the lab, before its controls are drawn: set them to what was handed over."""
    st.session_state.update(st.session_state.pop(_HANDED, {}))
