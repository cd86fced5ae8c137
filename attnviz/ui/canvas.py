"""The canvas on a page: one Streamlit component with four ways of looking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from attnviz.canvas.bundle import HTML, Payload, script, style
from attnviz.canvas.interaction import CanvasState

_COMPONENT = st.components.v2.component(
    "attnviz_canvas",
    html=HTML,
    css=style(),
    js=script(),
)

_STATES = ("selected", "view", "cell", "query", "token")


def canvas(
    payload: Payload,
    *,
    key: str,
    height: int = 640,
    compact: bool = False,
    on_change: Callable[[CanvasState, str], None] | None = None,
) -> CanvasState:
    """Show a payload; what the person did last comes back.

    Hovering, moving and changing colours stay in the browser. A click reruns the script (or the
    fragment that this stands in), and so does a move on a map that needs cells which aren't there.

    Args:
        key: of this canvas, the same over reruns. Two modes in the same place share one key.
        height: in pixels, toolbar included; a strip of few tokens takes less.
        compact: with the least of a toolbar, to stand beside others.
        on_change: called before the rerun with the state and the name of what changed in it.
    """

    def changed(name: str) -> None:
        if on_change is not None:
            on_change(canvas_state(key), name)

    callbacks: dict[str, Any] = {f"on_{name}_change": partial(changed, name) for name in _STATES}
    result = _COMPONENT(key=key, data=payload.encode(height=height, compact=compact), **callbacks)
    return CanvasState.of(dict(result))


def canvas_state(key: str) -> CanvasState:
    """What a canvas said last; ask it before its payload is built."""
    return CanvasState.of(st.session_state.get(key))
