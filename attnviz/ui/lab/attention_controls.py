"""Groups of controls for one attention layer: mask, positions, scores, residual, weights.

Each function draws its group; those that return a dictionary return arguments of AttentionConfig.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Literal, get_args

import streamlit as st

from attnviz.glossary import term
from attnviz.nn.config import Activation, Mask, NormKind, Positions
from attnviz.ui.query_params import linked_choice, linked_integer

LINKED: Final[dict[str, Any]] = {"bind": "query-params"}

# The link holds what a choice is called on screen, so names are short.
_MASKS: Final[dict[Mask | Literal["own"], str]] = {
    "own": "Default for the architecture",
    "none": "None",
    "causal": "Causal",
    "sliding": "Sliding window",
    "prefix": "Prefix",
}
_POSITIONS: Final[dict[Positions, str]] = {
    "none": "None",
    "sinusoidal": "Sinusoidal",
    "learned": "Learned",
    "rope": "RoPE",
    "alibi": "ALiBi",
    "t5": "T5 relative",
}
_SCALES: Final = {"sqrt": "1/√d_head", "none": "None", "value": "Value"}
_NORMS: Final[dict[str, str]] = {"post": "Post", "pre": "Pre", "none": "None"}
_OLDER_NORMS: Final = {"Before": "pre", "After": "post"}
_NORM_KINDS: Final[dict[NormKind, str]] = {"layer": "LayerNorm", "rms": "RMSNorm"}


def mask_controls(architecture: str) -> dict[str, Any]:
    """The mask, and its size where it has one."""
    own = "none" if architecture == "encoder" else "causal"
    chosen = st.selectbox(
        "Mask",
        list(_MASKS),
        key="mask",
        format_func=_MASKS.__getitem__,
        help=term(
            "mask",
            "Masked cells are hatched. Decoders default to causal (the token itself and earlier "
            "ones), encoders to no mask. A sliding window is causal and limited to the last few "
            "tokens. A prefix is visible to every query; the rest is causal.",
        ),
        **LINKED,
    )
    layer: dict[str, Any] = {"mask": own if chosen == "own" else chosen}
    if chosen == "sliding":
        layer["window"] = st.slider(
            "Window",
            1,
            16,
            4,
            key="window",
            help="Number of tokens each query can attend to, including itself.",
            **LINKED,
        )
    if chosen == "prefix":
        layer["prefix"] = st.slider(
            "Prefix",
            0,
            16,
            3,
            key="prefix",
            help="Leading tokens that every query can attend to.",
            **LINKED,
        )
    return layer


def padding_control() -> int:
    """Padding, which is a setting of the stack."""
    return st.slider(
        "Padding",
        0,
        8,
        0,
        key="padding",
        help="Padding tokens after the text, as in a batch of texts of different lengths.",
        **LINKED,
    )


def positions_control() -> Positions:
    """How positions enter."""
    positions: Positions = st.selectbox(
        "Positions",
        list(_POSITIONS),
        key="positions",
        format_func=_POSITIONS.__getitem__,
        help="Without positions, attention ignores the order of the tokens. Sinusoidal and learned "
        "embeddings are added to X, RoPE rotates Q and K, ALiBi and T5 add a bias to the scores.",
        **LINKED,
    )
    return positions


def score_controls() -> dict[str, Any]:
    """Scale, temperature, softcap, QK-norm and sink."""
    scale = _scale()
    temperature = st.slider(
        "Temperature",
        0.1,
        5.0,
        1.0,
        0.1,
        key="temperature",
        help=term("temperature"),
        **LINKED,
    )
    softcap = st.number_input(
        "Softcap",
        0.1,
        100.0,
        None,
        0.5,
        key="softcap",
        placeholder="off",
        help=term("softcap", "Used by Gemma 2."),
        **LINKED,
    )
    qk_norm = st.toggle(
        "QK-norm", key="qk_norm", help="Applies RMSNorm to every query and key (Qwen 3).", **LINKED
    )
    sink = st.toggle(
        "Attention sink",
        key="sink",
        help=term(
            "sink", "Here: an extra learned logit per head that absorbs attention (gpt-oss)."
        ),
        **LINKED,
    )
    return {
        "scale": scale,
        "temperature": temperature,
        "softcap": softcap,
        "qk_norm": qk_norm,
        "sink": sink,
    }


def _scale() -> str | float:
    scale: str | float = st.segmented_control(
        "Scale",
        list(_SCALES),
        default="sqrt",
        required=True,
        key="scale",
        format_func=_SCALES.__getitem__,
        help="Factor applied to the dot products: 1/√d_head keeps their variance near 1.",
        **LINKED,
    )
    if scale == "value":
        scale = st.slider("Scale value", 0.05, 2.0, 0.5, 0.05, key="scale_value", **LINKED)
    return scale


def residual_controls() -> dict[str, Any]:
    """Residual, norm and feed-forward."""
    residual = st.toggle(
        "Residual",
        True,
        key="residual",
        help=term("residual", "Off removes the skip connection."),
        **LINKED,
    )
    choose = partial(st.segmented_control, required=True, **LINKED)
    norm = linked_choice(
        st.segmented_control,
        "Norm",
        _NORMS,
        key="norm",
        older=_OLDER_NORMS,
        help="Pre-norm (GPT-2, Llama), post-norm (BERT), or none.",
    )
    kind = choose(
        "Norm type",
        list(_NORM_KINDS),
        default="layer",
        key="norm_kind",
        format_func=_NORM_KINDS.__getitem__,
        disabled=norm == "none",
        help="RMSNorm doesn't subtract the mean or add a bias.",
    )
    return {"residual": residual, "norm": norm, "norm_kind": kind, **_feed_forward()}


def _feed_forward() -> dict[str, Any]:
    feed_forward = st.toggle(
        "Feed-forward",
        key="feed_forward",
        help="A position-wise MLP after the attention.",
        **LINKED,
    )
    activation = "gelu"
    if feed_forward:
        activation = st.selectbox(
            "Activation",
            list(get_args(Activation)),
            key="activation",
            help="Nonlinearity of the MLP; swiglu adds a gate projection.",
            **LINKED,
        )
    return {"feed_forward": feed_forward, "activation": activation}


def weight_controls() -> dict[str, Any]:
    """Seed, bias and dropout."""
    seed = linked_integer(
        st, "Seed", 0, 9999, key="seed", help="Seeds all weights and token vectors."
    )
    bias = st.toggle(
        "Bias", key="bias", help="Adds a bias (random here) to every linear layer.", **LINKED
    )
    dropout = st.slider(
        "Dropout",
        0.0,
        0.9,
        0.0,
        0.1,
        key="dropout",
        help="Probability of dropping each attention weight, as in training.",
        **LINKED,
    )
    return {"seed": seed, "bias": bias, "dropout": dropout}
