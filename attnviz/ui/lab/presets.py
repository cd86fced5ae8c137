"""Known architectures, each one click away: their form of attention, at the lab's size."""

from __future__ import annotations

from typing import Any, Final

import streamlit as st

# What all controls of a layer are at first, by their key.
_FIRST: Final[dict[str, Any]] = {
    "d_model": 16,
    "n_heads": 4,
    "n_kv_heads": None,
    "d_head": None,
    "architecture": "decoder",
    "mask": "own",
    "positions": "none",
    "scale": "sqrt",
    "temperature": 1.0,
    "softcap": None,
    "qk_norm": False,
    "sink": False,
    "residual": True,
    "norm": "post",
    "norm_kind": "layer",
    "feed_forward": False,
    "activation": "gelu",
    "bias": False,
    "dropout": 0.0,
}
_GPT2: Final = {
    "positions": "learned",
    "norm": "pre",
    "bias": True,
    "feed_forward": True,
    "activation": "gelu_tanh",
}
_LLAMA: Final = {
    "n_kv_heads": 2,
    "positions": "rope",
    "norm": "pre",
    "norm_kind": "rms",
    "feed_forward": True,
    "activation": "swiglu",
}
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "Plain": _FIRST,
    "GPT-2": _FIRST | _GPT2,
    "BERT": _FIRST | {"architecture": "encoder", "positions": "learned", "bias": True}
    | {"feed_forward": True},
    "Llama (GQA)": _FIRST | _LLAMA,
    # Gemma 2 caps at 50; scores of this size would not feel that.
    "Gemma 2 (softcap)": _FIRST | _LLAMA | {"softcap": 2.0, "activation": "gelu_tanh"},
    "gpt-oss (sink)": _FIRST | _LLAMA | {"sink": True, "bias": True},
    "T5 (bias)": _FIRST
    | {"architecture": "encoder", "positions": "t5", "scale": "none", "norm": "pre"}
    | {"norm_kind": "rms", "feed_forward": True, "activation": "relu"},
}  # fmt: skip
_KEY: Final = "preset"


def presets() -> None:
    """Draw them, after the controls that they set. The one that the controls are at is marked."""
    now = {key: st.session_state.get(key, first) for key, first in _FIRST.items()}
    at = next((name for name, preset in PRESETS.items() if preset == now), None)
    st.session_state[_KEY] = at
    st.pills(
        "Start from",
        list(PRESETS),
        key=_KEY,
        on_change=_apply,
        label_visibility="collapsed",
        help="Sets the controls to an architecture's form of attention, at this size.",
    )


def _apply() -> None:
    chosen = st.session_state[_KEY]
    if chosen in PRESETS:
        st.session_state.update(PRESETS[chosen])
