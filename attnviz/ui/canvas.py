"""The canvas on a page: one Streamlit component for all of its modes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import streamlit as st
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

from attnviz.canvas.bundle import ASSETS, HTML, Payload
from attnviz.canvas.interaction import CanvasState

_PACKAGE, _COMPONENT = "attnviz", "canvas"
_STATES = ("selected", "view", "cell", "query", "token")


def _component() -> Callable[..., Any]:
    """The component, its modules served as files.

    The manifest is what Streamlit reads from an installed package's pyproject.toml. It is
    registered here instead, so that a checkout needs no installation: docs/decisions/the-canvas.md.
    """
    name = f"{_PACKAGE}.{_COMPONENT}"
    manager = get_bidi_component_manager()  # of the running server; each AppTest has its own
    if manager.get_component_asset_root(name) is None:
        config = ComponentConfig(_COMPONENT, asset_dir=ASSETS.name)
        manager.register_from_manifest(ComponentManifest(_PACKAGE, "0", [config]), ASSETS.parent)
    return _declared(name)


@cache
def _declared(name: str) -> Callable[..., Any]:
    return st.components.v2.component(name, html=HTML, js="component.js")


def canvas(
    payload: Payload,
    *,
    key: str,
    height: int = 640,
    compact: bool = False,
    on_change: Callable[[CanvasState, str], None] | None = None,
) -> CanvasState:
    """Show a payload and return the canvas's state.

    Hovering, moving and changing colors stay in the browser. A click reruns the script (or the
    fragment around this call), and so does a move on a map that needs cells the browser lacks.

    Args:
        key: identifies the canvas across reruns. Two modes in the same place share one key.
        height: in pixels, toolbar included; a strip of few tokens takes less.
        compact: with a minimal toolbar, to stand beside other canvases.
        on_change: called before the rerun with the state and the name of what changed in it.
    """

    def changed(name: str) -> None:
        if on_change is not None:
            on_change(canvas_state(key), name)

    callbacks: dict[str, Any] = {f"on_{name}_change": partial(changed, name) for name in _STATES}
    result = _component()(key=key, data=payload.encode(height=height, compact=compact), **callbacks)
    return CanvasState.of(dict(result))


def canvas_state(key: str) -> CanvasState:
    """The state of a canvas as of its last message; available before its payload is built."""
    return CanvasState.of(st.session_state.get(key))
