"""What the layer reads: words, characters, or random vectors without any text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import streamlit as st

from attnviz.analysis.lab import MAX_TOKENS, Unit, tokenize
from attnviz.glossary import term
from attnviz.ui.query_params import linked_text

TEXT: Final = "The cat sat down because it was tired"
CONTEXT: Final = "Le chat était fatigué"

_UNITS: Final[dict[Unit | Literal["random"], str]] = {
    "words": "Words",
    "characters": "Characters",
    "random": "Vectors",
}


def text_input(paired: bool) -> Callable[[], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Draw the controls.

    Args:
        paired: with a second text, which the encoder reads.

    Returns:
        A function that tokenizes: the tokens, and those of the encoder's text. It raises
        AttnVizError where a text cannot be tokenized.
    """
    row = st.container(key="lab_text", horizontal=True, vertical_alignment="top")
    with row.container(width=330, gap="xxsmall"):
        unit = st.segmented_control(
            "Tokens",
            list(_UNITS),
            default="words",
            required=True,
            key="unit",
            format_func=_UNITS.__getitem__,
            help="What each row of X is: a word, a character, or just a random vector. A word's "
            "vector depends only on the seed and the word, so repeated words share one.",
            bind="query-params",
        )
        st.caption("Weights are random until you load **a real head**.")
    if unit == "random":
        n = row.slider(
            "Number of vectors",
            2,
            MAX_TOKENS,
            8,
            key="vectors",
            help="Number of rows of X.",
            bind="query-params",
        )
        labels = tuple(f"x{i}" for i in range(n))
        return lambda: (labels, tuple(f"c{i}" for i in range(n)) if paired else ())
    box = partial(linked_text, height=68, help=f"Up to {MAX_TOKENS} tokens. {term('token')}")
    with row:
        text = box("Decoder text" if paired else "Text", key="text_lab", default=TEXT)
        context = box("Encoder text", key="context_lab", default=CONTEXT) if paired else ""
    return lambda: (tokenize(text, unit), tokenize(context, unit) if paired else ())
