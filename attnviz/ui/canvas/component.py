"""The canvas on a page: one Streamlit component with four ways of looking."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import streamlit as st

from attnviz.ui.canvas.state import CanvasState

_HERE = Path(__file__).parent

# A module comes after those it imports.
MODULES = (
    "payload", "numbers", "colours", "dom", "stage", "pictures", "shading", "viewport", "map",
    "grid", "lines", "neuron", "main",
)  # fmt: skip

_IMPORT = re.compile(r"^import\s*\{[^}]*\}\s*from\s*\"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


class Payload(Protocol):
    """What a payload builder gives: something that is a message to the browser."""

    def encode(self, **display: object) -> bytes: ...


def script() -> str:
    """The component's modules as one: a component that isn't installed has one string of code.

    Every file is an ES module of its own with plain named imports from its neighbours; here they
    share one scope, so those imports and the word ``export`` go. Top-level names are unique.
    """
    parts = []
    for name in MODULES:
        text = (_HERE / "js" / f"{name}.js").read_text(encoding="utf-8")
        parts.append(_EXPORT.sub("", _IMPORT.sub("", text)))
    return "\n".join(parts)


_COMPONENT = st.components.v2.component(
    "attnviz_canvas",
    html='<div class="canvas-root"></div>\n',
    css=(_HERE / "canvas.css").read_text(encoding="utf-8"),
    js=script(),
)

_STATES = ("selected", "view", "cell", "query", "token")


def canvas(
    payload: Payload,
    *,
    key: str,
    height: int = 640,
    on_change: Callable[[CanvasState], None] | None = None,
) -> CanvasState:
    """Show a payload; what the person did last comes back.

    Hovering, moving and changing colours stay in the browser. A click reruns the script (or the
    fragment that this stands in), and so does a move on a map that needs cells which aren't there.

    Args:
        key: of this canvas, the same over reruns. Two modes in the same place share one key.
        height: in pixels, toolbar included.
        on_change: called before the rerun with what changed.
    """

    def changed() -> None:
        if on_change is not None:
            on_change(canvas_state(key))

    callbacks = {f"on_{name}_change": changed for name in _STATES}
    result = _COMPONENT(key=key, data=payload.encode(height=height), **callbacks)
    return CanvasState.of(dict(result))


def canvas_state(key: str) -> CanvasState:
    """What a canvas said last; ask it before its payload is built."""
    return CanvasState.of(st.session_state.get(key))
