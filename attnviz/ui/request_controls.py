"""What a model is to be traced on: text boxes or an image, and what the model generates after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from attnviz.trace.requests import ModelChoice, TraceRequest
from attnviz.ui import first_view, query_params
from attnviz.ui.generate import sampling
from attnviz.ui.linked_image import uploaded_image
from attnviz.ui.query_params import linked_text
from attnviz.ui.sample_digits import choose_digit

if TYPE_CHECKING:
    from attnviz.trace.model import Model

# The controls of what a model reads, by its architecture; a decoder reads a text.
_CONTROLS = {"text", "target", "pair", "digit", "image"}
_IMAGE_FILES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"]
_READS = {
    "vision": {"digit", "image"},
    "encoder-decoder": {"text", "target"},
    "encoder": {"text", "pair"},
}


def request_controls(choice: ModelChoice, model: Model) -> TraceRequest | None:
    """Draw the controls that suit the model; None until it has the image that it needs."""
    request = input_controls(choice, model)
    if request is None or request.image_digest:
        return request
    return sampling.controls(choice, model, request)


def input_controls(choice: ModelChoice, model: Model) -> TraceRequest | None:
    """The same without generating: what the model reads, and no more."""
    first_view.open_model(choice, model)
    for name in _CONTROLS - _READS.get(model.architecture, {"text"}):
        query_params.unlink(name)
        query_params.unlink(query_params.kept_name(name))
    if model.architecture == "vision":
        upload = st.file_uploader("Image", type=_IMAGE_FILES, key="image")
        uploaded = uploaded_image(upload.getvalue() if upload else None)
        image = choose_digit() or uploaded
        return TraceRequest.of_image(image) if image else None
    mask = getattr(model.tokenizer, "mask_token", None)
    target = pair = ""
    with st.container(horizontal=True, width="stretch"):
        text = linked_text(
            "Text",
            key="text",
            default=first_view.FIRST_TEXT,
            height=68,
            help=f"The model fills in `{mask}`." if mask else "",
        )
        if model.architecture == "encoder-decoder":
            target = linked_text("Decoder input (target)", key="target", height=68)
        elif model.architecture == "encoder":
            pair = linked_text("Second sentence (optional)", key="pair", height=68)
    return TraceRequest(text=text, target=target, pair=pair)
