"""The canvas on a page: one Streamlit component for all of its modes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from attnviz.canvas.bundle import HTML, Payload
from attnviz.canvas.grid import GridPayload
from attnviz.canvas.image import ImagePayload
from attnviz.canvas.interaction import CanvasState
from attnviz.ui.served_component import served_component

_STATES = ("selected", "view", "cell", "query", "token", "missing", "weight")
_SENT = "_canvas_sent"  # to this browser tab: the last grid's or image's id, by the canvas's key


def canvas(
    payload: Payload,
    *,
    key: str,
    height: int = 640,
    fills: bool = False,
    compact: bool = False,
    source: str = "",
    on_change: Callable[[CanvasState, str], None] | None = None,
) -> CanvasState:
    """Show a payload and return the canvas's state.

    Hovering, moving and changing colors stay in the browser. A click reruns the script (or the
    fragment around this call), and so does a move on a map that needs cells the browser lacks.

    Args:
        key: identifies the canvas across reruns. Two modes in the same place share one key.
        height: in pixels, toolbar included; a strip of few tokens takes less.
        fills: taller than that where the window has room below the canvas.
        compact: with a minimal toolbar, to stand beside other canvases; a strip is folded to one
            line, and opens.
        source: the model and the start of the text, for saved pictures.
        on_change: called before the rerun with the state and the name of what changed in it.
    """

    sent: dict[str, str] = st.session_state.setdefault(_SENT, {})

    def changed(name: str) -> None:
        if name == "missing":
            sent.pop(key, None)
        elif on_change is not None:
            on_change(canvas_state(key), name)

    callbacks: dict[str, Any] = {f"on_{name}_change": partial(changed, name) for name in _STATES}
    mount = served_component("canvas", HTML, "component.js")
    if isinstance(payload, GridPayload | ImagePayload):
        payload = replace(payload, have=sent.get(key, ""))
    data = payload.encode(height=height, fills=fills, compact=compact, source=source)
    result = mount(key=key, data=data, **callbacks)
    if isinstance(payload, GridPayload | ImagePayload):
        sent[key] = payload.picture if isinstance(payload, ImagePayload) else payload.id
    return CanvasState.of(dict(result))


def canvas_state(key: str) -> CanvasState:
    """The state of a canvas as of its last message; available before its payload is built."""
    return CanvasState.of(st.session_state.get(key))
