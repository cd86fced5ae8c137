"""Handwritten digits to look at without an image of one's own: scikit-learn's first of each."""

from __future__ import annotations

import io
from typing import Final

import streamlit as st

from attnviz.ui.query_params import linked_choice

_NONE: Final = "none"
_CHOICES: Final = {_NONE: "None"} | {str(digit): str(digit) for digit in range(10)}


def choose_digit() -> bytes | None:
    """A row of digits, the chosen one in the link; its image as PNG, None without a choice."""
    chosen = linked_choice(st.pills, "Or a sample digit", _CHOICES, key="digit")
    return None if chosen == _NONE else digit_image(int(chosen))


@st.cache_data(show_spinner=False)
def digit_image(digit: int) -> bytes:
    """The first image of this digit, 8 x 8 pixels, as PNG."""
    from attnviz.train.tasks.digits import as_image, load_images

    images, labels = load_images()
    (first, *_) = (labels == digit).nonzero().flatten().tolist()
    file = io.BytesIO()
    as_image(images[first]).save(file, "PNG")
    return file.getvalue()
