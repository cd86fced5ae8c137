"""Where Home leads: names of links, as the component sends them, to pages of the app."""

from __future__ import annotations

import streamlit as st

from attnviz.ui.home.views import MODEL, TEXT, kept

_PLACES: dict[str, tuple[str, dict[str, str]]] = {
    "docs": ("docs", {}),
    "license": ("docs", {"page": "license"}),
    "verified": ("docs", {"page": "receipts"}),
    "lab": ("layer_lab", {"text_lab": TEXT}),
    "train": ("train", {}),
}


def follow(name: str | None, text: str = TEXT) -> None:
    """Switch to the page that a link names; without one, or with an unknown one, stay.

    Args:
        name: of an example or a place; "text ..."; "head L H" of the sentence; or "layer D H", a
            layer's d_model and heads. It comes from a browser, so anything may be in it.
        text: what the page shows.
    """
    found = destination(name, text) if isinstance(name, str) else None
    if found is not None:
        page, params = found
        st.switch_page(f"pages/{page}.py", query_params=params)


def destination(name: str, text: str) -> tuple[str, dict[str, str]] | None:
    """A link's page and query parameters; None for a name that is none."""
    if name in _PLACES:
        return _PLACES[name]
    for example in kept()["examples"]:
        if example["name"] == name:
            return example["page"], example["params"]
    kind, _, rest = name.partition(" ")
    numbers = rest.split()
    pair = numbers if len(numbers) == 2 and all(map(str.isdecimal, numbers)) else None
    if kind == "text":
        return "explore", {"model": MODEL, "text": rest or text}
    if kind == "head" and pair:
        return "explore", {"model": MODEL, "text": text, "layer": pair[0], "head": pair[1]}
    if kind == "layer" and pair:
        return "layer_lab", {"d_model": pair[0], "n_heads": pair[1], "text_lab": text}
    return None
