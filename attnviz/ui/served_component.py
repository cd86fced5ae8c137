"""Components whose JavaScript modules are served as files from ``attnviz/canvas/js``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager
from streamlit.components.v2.manifest_scanner import ComponentConfig, ComponentManifest

import attnviz

_ASSETS = Path(attnviz.__file__).parent / "canvas" / "js"  # found without its package: no torch


def served_component(name: str, html: str, js: str) -> Callable[..., Any]:
    """The callable that mounts a component of ours.

    The manifest is what Streamlit reads from an installed package's pyproject.toml. It is
    registered here instead, so that a checkout needs no installation: docs/decisions/the-canvas.md.

    Args:
        name: identifies it in the app. html: the element it draws into. js: its entry module, below
            ``attnviz/canvas/js``.
    """
    manager = get_bidi_component_manager()  # of the running server; each AppTest has its own
    full_name = f"attnviz.{name}"
    if manager.get_component_asset_root(full_name) is None:
        config = ComponentConfig(name, asset_dir=_ASSETS.name)
        manager.register_from_manifest(ComponentManifest("attnviz", "0", [config]), _ASSETS.parent)
    return _declared(full_name, html, js)


@cache
def _declared(name: str, html: str, js: str) -> Callable[..., Any]:
    return st.components.v2.component(name, html=html, js=js)
