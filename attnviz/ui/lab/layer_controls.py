"""The Layer lab's sidebar. Every control is in the link, under the name that the code uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.analysis.lab import Architecture, Lab, Part, tokenize
from attnviz.glossary import term
from attnviz.nn import AttentionConfig
from attnviz.ui.lab.attention_controls import (
    LINKED,
    mask_controls,
    padding_control,
    positions_control,
    residual_controls,
    score_controls,
    weight_controls,
)
from attnviz.ui.lab.text_input import TEXT
from attnviz.ui.query_params import clamp, linked_integer

# What is shown until a text and settings work: the view that all controls' defaults make.
FIRST: Final = Lab(
    AttentionConfig(d_model=16, n_heads=4, bias=False, mask="causal"), tokenize(TEXT, "words")
)

_ARCHITECTURES: Final[dict[Architecture, str]] = {
    "decoder": "Decoder",
    "encoder": "Encoder",
    "encoder-decoder": "Encoder-decoder",
}
_PARTS: Final[dict[Part, str]] = {"cross": "Cross", "decoder": "Decoder", "encoder": "Encoder"}


@dataclass(frozen=True)
class LayerControls:
    """What the sidebar says, not yet checked.

    Attributes:
        layer: arguments of AttentionConfig. stack: arguments of Lab.
        head: the head to show; None shows all of them side by side.
        errors: the container for settings that contradict each other.
    """

    layer: dict[str, Any]
    stack: dict[str, Any]
    head: int | None
    errors: DeltaGenerator

    @property
    def paired(self) -> bool:
        """Whether there are two texts."""
        return bool(self.stack["architecture"] == "encoder-decoder")

    def lab(self, tokens: tuple[str, ...], context: tuple[str, ...]) -> Lab:
        """The stack of layers over a text.

        Raises:
            AttnVizError: the settings contradict each other.
        """
        return Lab(AttentionConfig(**self.layer), tokens, context, **self.stack)


def sidebar() -> LayerControls:
    """Draw all controls but the text, the most used first."""
    with st.sidebar:
        layer = _shape()
        errors = st.container()
        head = _head(layer["n_heads"])
        stack = _stack()
        layer |= mask_controls(stack["architecture"])
        stack["padding"] = padding_control()
        layer["positions"] = positions_control()
        with st.expander("Scores", icon=":material/calculate:"):
            layer |= score_controls()
        with st.expander("Residual, norm, feed-forward", icon=":material/merge:"):
            layer |= residual_controls()
        with st.expander("Weights", icon=":material/casino:"):
            layer |= weight_controls()
    return LayerControls(layer, stack, head, errors)


def _shape() -> dict[str, Any]:
    d_model = st.slider(
        "d_model",
        4,
        64,
        16,
        4,
        key="d_model",
        help=f"Width of the residual stream. {term('residual')}",
        **LINKED,
    )
    left, right = st.columns(2)
    d_head = linked_integer(
        right,
        "d_head",
        1,
        32,
        key="d_head",
        empty=True,
        placeholder="auto",
        help="Width of each head; empty means d_model / heads.",
    )
    n_heads = _heads(d_model, d_head)
    shared = st.session_state.get("n_kv_heads")
    if shared and n_heads % shared:
        st.session_state["n_kv_heads"] = _nearest(divisors(n_heads), shared)
    kv_heads = linked_integer(
        left,
        "KV heads",
        1,
        16,
        key="n_kv_heads",
        empty=True,
        placeholder="heads",
        help=term("KV head", "Empty means one per head; 1 is multi-query attention (MQA)."),
    )
    return {"d_model": d_model, "n_heads": n_heads, "n_kv_heads": kv_heads, "d_head": d_head}


def _heads(d_model: int, d_head: int | None) -> int:
    """The number of heads: without a d_head of their own, they divide d_model."""
    choices = range(1, 17) if d_head else [n for n in divisors(d_model) if n <= 16]
    chosen = st.session_state.get("n_heads")
    if chosen is not None and chosen not in choices:
        st.session_state["n_heads"] = _nearest(choices, chosen)
    n_heads: int = st.select_slider(
        "Heads",
        list(choices),
        4,
        key="n_heads",
        help=term("head", "Heads split d_model between them, so their number divides it."),
        **LINKED,
    )
    return n_heads


def divisors(number: int) -> list[int]:
    """All of them, ascending."""
    return [n for n in range(1, number + 1) if number % n == 0]


def _nearest(choices: Iterable[int], number: int) -> int:
    return min(choices, key=lambda n: abs(n - number))


def _head(n_heads: int) -> int | None:
    together = st.toggle(
        "All heads side by side", key="together", help="Shows every head instead of one.", **LINKED
    )
    last = n_heads - 1
    head = 0
    if last:
        clamp("head_lab", last)
        head = st.slider(
            "Head", 0, last, key="head_lab", disabled=together, help="Counted from 0.", **LINKED
        )
    return None if together else head


def _stack() -> dict[str, Any]:
    architecture = st.selectbox(
        "Architecture",
        list(_ARCHITECTURES),
        key="architecture",
        format_func=_ARCHITECTURES.__getitem__,
        help="Decoders default to a causal mask, encoders to none; the mask below overrides "
        "this. In an encoder-decoder, the decoder also cross-attends to the encoder's output.",
        **LINKED,
    )
    stack: dict[str, Any] = {"architecture": architecture}
    if architecture == "encoder-decoder":
        stack["part"] = st.segmented_control(
            "Attention",
            list(_PARTS),
            default="cross",
            required=True,
            key="part",
            format_func=_PARTS.__getitem__,
            help=term("cross-attention", "The mask and relative positions don't apply to it."),
            **LINKED,
        )
    left, right = st.columns(2)
    layers = linked_integer(left, "Layers", 1, 12, key="layers", help="Number of stacked layers.")
    clamp("layer_lab", layers - 1)
    shown = linked_integer(
        right,
        "Layer",
        0,
        layers - 1,
        key="layer_lab",
        help=term("layer", "Counted from 0, closest to the input."),
    )
    return stack | {"layers": layers, "layer": shown}
