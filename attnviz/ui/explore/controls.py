"""Explore's controls: what the model reads, and which head is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from attnviz.trace.requests import ModelChoice, TraceRequest
from attnviz.ui.explore.head import VIEWS
from attnviz.ui.generate import running as generation
from attnviz.ui.query_params import linked_index, linked_text

if TYPE_CHECKING:
    from attnviz.trace.model import Model
    from attnviz.trace.trace import AttentionLayer, Trace

FIRST_TEXT = "When Mary and John went to the store, John gave a drink to"


def request(choice: ModelChoice, model: Model) -> TraceRequest | None:
    """What the model is to read and write; None until there is an image for one that needs it."""
    if model.architecture == "vision":
        upload = st.file_uploader("Image", type=["png", "jpg", "jpeg", "webp"], key="image")
        return TraceRequest.of_image(upload.getvalue()) if upload else None
    mask = getattr(model.tokenizer, "mask_token", None)
    target = pair = ""
    with st.container(horizontal=True):
        text = linked_text(
            "Text",
            key="text",
            default=FIRST_TEXT,
            height=84,
            help=f"`{mask}` is the token to be guessed." if mask else "",
        )
        if model.architecture == "encoder-decoder":
            target = linked_text("Target, read by the decoder", key="target", height=84)
        elif model.architecture == "encoder":
            pair = linked_text("Second sentence, if any", key="pair", height=84)
    return generation.controls(choice, model, TraceRequest(text=text, target=target, pair=pair))


class Choice(NamedTuple):
    """Which head is looked at, and in which of the views."""

    layer: AttentionLayer
    head: int
    view: str


def head(trace: Trace) -> Choice:
    """The kind of attention where there are several, the layer, the head, and the view."""
    kinds = list(dict.fromkeys(layer.kind for layer in trace.layers))
    kind = kinds[0]
    if len(kinds) > 1:
        kind = st.segmented_control(
            "Attention", kinds, default=kinds[0], required=True, key="kind", bind="query-params"
        )
    layers = [layer for layer in trace.layers if layer.kind == kind]
    layer = layers[linked_index("Layer", len(layers), key="layer")]
    chosen = linked_index("Head", layer.n_heads, key="head")
    view = st.segmented_control(
        "Show",
        list(VIEWS),
        default="Map",
        required=True,
        wrap=True,
        key="show",
        bind="query-params",
        help="  \n".join(f"**{name}** {what}" for name, what in VIEWS.items()),
    )
    return Choice(layer, chosen, view)
