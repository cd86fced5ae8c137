"""The Layer lab's controls. Every one is in the link, under the name that the code has for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.analysis.lab import Architecture, Lab, Part, tokenize
from attnviz.nn import AttentionConfig
from attnviz.nn.config import Activation, Mask, Norm, NormKind, Positions
from attnviz.ui.lab.text_input import TEXT
from attnviz.ui.query_params import linked_integer

# What is shown until there is something to keep: the view that all controls' defaults make.
FIRST: Final = Lab(
    AttentionConfig(d_model=16, n_heads=4, bias=False, mask="causal"), tokenize(TEXT, "words")
)

_linked: Final[dict[str, Any]] = {"bind": "query-params"}

# What a choice is called on screen is what the link says, so names are short.
_MASKS: Final[dict[Mask | Literal["own"], str]] = {
    "own": "The architecture's own",
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
_NORMS: Final[dict[Norm, str]] = {"post": "After", "pre": "Before", "none": "None"}
_NORM_KINDS: Final[dict[NormKind, str]] = {"layer": "LayerNorm", "rms": "RMSNorm"}
_ARCHITECTURES: Final[dict[Architecture, str]] = {
    "decoder": "Decoder",
    "encoder": "Encoder",
    "encoder-decoder": "Encoder-decoder",
}
_PARTS: Final[dict[Part, str]] = {"cross": "Cross", "decoder": "Decoder", "encoder": "Encoder"}


@dataclass(frozen=True)
class Controls:
    """What the sidebar says, not yet checked, and the place for what contradicts."""

    layer: dict[str, Any]  # arguments of AttentionConfig
    stack: dict[str, Any]  # arguments of Lab
    head: int | None  # None: all of them side by side
    beside: DeltaGenerator

    def lab(self, tokens: tuple[str, ...], context: tuple[str, ...]) -> Lab:
        """The stack asked for. Raises AttnVizError where the settings contradict each other."""
        return Lab(AttentionConfig(**self.layer), tokens, context, **self.stack)


def sidebar() -> Controls:
    """All controls but the text, the most used first."""
    with st.sidebar:
        layer = _shape()
        beside = st.container()
        head = _head(layer["n_heads"])
        stack = _stack()
        layer |= _visibility(stack)
        with st.expander("Scores", icon=":material/calculate:"):
            layer |= _scores()
        with st.expander("Residual, norm, feed-forward", icon=":material/merge:"):
            layer |= _around()
        with st.expander("Weights", icon=":material/casino:"):
            layer |= _weights()
    return Controls(layer, stack, head, beside)


def _shape() -> dict[str, Any]:
    d_model = st.slider(
        "d_model", 4, 64, 16, 4, key="d_model", help="Width of the residual stream.", **_linked
    )
    n_heads = st.slider(
        "Heads", 1, 16, 4, key="n_heads", help="How many patterns attend side by side.", **_linked
    )
    left, right = st.columns(2)
    kv_heads = linked_integer(
        left,
        "KV heads",
        1,
        16,
        key="n_kv_heads",
        empty=True,
        placeholder="heads",
        help="Heads of keys and values, as many as heads if empty. Fewer is grouped-query "
        "attention, and 1 is multi-query attention.",
    )
    d_head = linked_integer(
        right,
        "d_head",
        1,
        32,
        key="d_head",
        empty=True,
        placeholder="auto",
        help="Width of one head, d_model / heads if empty.",
    )
    return {"d_model": d_model, "n_heads": n_heads, "n_kv_heads": kv_heads, "d_head": d_head}


def _head(n_heads: int) -> int | None:
    together = st.toggle(
        "All heads side by side", key="together", help="Instead of one head at a time.", **_linked
    )
    last = n_heads - 1
    head = 0
    if last:
        if st.session_state.get("head_lab", 0) > last:
            st.session_state["head_lab"] = last
        head = st.slider(
            "Head shown", 0, last, key="head_lab", disabled=together, help="From 0.", **_linked
        )
    return None if together else head


def _stack() -> dict[str, Any]:
    architecture = st.selectbox(
        "Architecture",
        list(_ARCHITECTURES),
        key="architecture",
        format_func=_ARCHITECTURES.__getitem__,
        help="A decoder is causal at first and an encoder sees everything; the mask below can "
        "say otherwise. A decoder beside an encoder also attends to what that has read.",
        **_linked,
    )
    stack: dict[str, Any] = {"architecture": architecture}
    if architecture == "encoder-decoder":
        stack["part"] = st.segmented_control(
            "Attention shown",
            list(_PARTS),
            default="cross",
            required=True,
            key="part",
            format_func=_PARTS.__getitem__,
            help="Cross-attention takes its queries from the decoder, keys and values from the "
            "encoder. Mask and relative positions do not reach it.",
            **_linked,
        )
    left, right = st.columns(2)
    layers = linked_integer(
        left, "Layers", 1, 12, key="layers", help="How many layers are stacked."
    )
    if st.session_state.get("layer_lab", 0) >= layers:
        st.session_state["layer_lab"] = layers - 1
    shown = linked_integer(
        right, "Layer shown", 0, layers - 1, key="layer_lab", help="From 0, nearest the text."
    )
    return stack | {"layers": layers, "layer": shown}


def _visibility(stack: dict[str, Any]) -> dict[str, Any]:
    """Mask and positions; padding goes to ``stack``."""
    own = "none" if stack["architecture"] == "encoder" else "causal"
    chosen = st.selectbox(
        "Mask",
        list(_MASKS),
        key="mask",
        format_func=_MASKS.__getitem__,
        help="Which keys a query may see; hidden cells are hatched. A decoder's own mask is "
        "causal: itself and earlier tokens. An encoder has none. A sliding window is causal and "
        "reaches a few tokens back. A prefix is seen by all, the rest is causal.",
        **_linked,
    )
    layer: dict[str, Any] = {"mask": own if chosen == "own" else chosen}
    if chosen == "sliding":
        layer["window"] = st.slider(
            "Window", 1, 16, 4, key="window", help="Itself and those before it.", **_linked
        )
    if chosen == "prefix":
        layer["prefix"] = st.slider(
            "Prefix", 0, 16, 3, key="prefix", help="Tokens that everybody sees.", **_linked
        )
    stack["padding"] = st.slider(
        "Padding",
        0,
        8,
        0,
        key="padding",
        help="Empty tokens after the text, as in a batch of texts of unequal length.",
        **_linked,
    )
    layer["positions"] = st.selectbox(
        "Positions",
        list(_POSITIONS),
        key="positions",
        format_func=_POSITIONS.__getitem__,
        help="Without positions attention cannot tell one order of the tokens from another. "
        "Sinusoidal and learned ones are added to X, RoPE turns Q and K, ALiBi and T5 bias the "
        "scores.",
        **_linked,
    )
    return layer


def _scores() -> dict[str, Any]:
    scale: str | float = st.segmented_control(
        "Scale",
        list(_SCALES),
        default="sqrt",
        required=True,
        key="scale",
        format_func=_SCALES.__getitem__,
        help="What the dot products are multiplied by: 1/√d_head keeps their spread at 1.",
        **_linked,
    )
    if scale == "value":
        scale = st.slider("Scale's value", 0.05, 2.0, 0.5, 0.05, key="scale_value", **_linked)
    temperature = st.slider(
        "Temperature",
        0.1,
        5.0,
        1.0,
        0.1,
        key="temperature",
        help="Divides the scores: below 1 sharpens the weights, above 1 flattens them.",
        **_linked,
    )
    softcap = st.number_input(
        "Softcap",
        0.1,
        100.0,
        None,
        0.5,
        key="softcap",
        placeholder="off",
        help="Bends the scores so that none exceeds this (Gemma 2).",
        **_linked,
    )
    qk_norm = st.toggle(
        "QK-norm", key="qk_norm", help="RMSNorm on every query and key (Qwen 3).", **_linked
    )
    sink = st.toggle(
        "Attention sink",
        key="sink",
        help="One more score a head that takes weight and gives nothing (gpt-oss).",
        **_linked,
    )
    return {
        "scale": scale,
        "temperature": temperature,
        "softcap": softcap,
        "qk_norm": qk_norm,
        "sink": sink,
    }


def _around() -> dict[str, Any]:
    residual = st.toggle(
        "Residual", True, key="residual", help="Adds the input back to the output.", **_linked
    )
    choose = partial(st.segmented_control, required=True, **_linked)
    norm = choose(
        "Norm",
        list(_NORMS),
        default="post",
        key="norm",
        format_func=_NORMS.__getitem__,
        help="Before the layer (GPT-2, Llama), after the sum (BERT), or nowhere.",
    )
    kind = choose(
        "Kind of norm",
        list(_NORM_KINDS),
        default="layer",
        key="norm_kind",
        format_func=_NORM_KINDS.__getitem__,
        disabled=norm == "none",
        help="RMSNorm neither subtracts the mean nor adds a bias.",
    )
    feed_forward = st.toggle(
        "Feed-forward",
        key="feed_forward",
        help="Two linear maps after the attention, each token alone.",
        **_linked,
    )
    activation = "gelu"
    if feed_forward:
        activation = st.selectbox(
            "Activation",
            list(get_args(Activation)),
            key="activation",
            help="Between the two maps; swiglu has a third as a gate.",
            **_linked,
        )
    return {
        "residual": residual,
        "norm": norm,
        "norm_kind": kind,
        "feed_forward": feed_forward,
        "activation": activation,
    }


def _weights() -> dict[str, Any]:
    seed = linked_integer(
        st, "Seed", 0, 9999, key="seed", help="Decides all weights and token vectors."
    )
    bias = st.toggle(
        "Bias", key="bias", help="Every linear map adds a vector, random here.", **_linked
    )
    dropout = st.slider(
        "Dropout",
        0.0,
        0.9,
        0.0,
        0.1,
        key="dropout",
        help="Chance that a weight is dropped, as in training.",
        **_linked,
    )
    return {"seed": seed, "bias": bias, "dropout": dropout}
