"""The model's examples: a menu in the bar, and the sentence of the one that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from attnviz.models import catalog
from attnviz.ui import first_view
from attnviz.ui.error_display import escape_markdown

if TYPE_CHECKING:
    from attnviz.trace.requests import ModelChoice

_MENU = "examples"


def menu(choice: ModelChoice) -> None:
    """A menu of the model's examples; choosing one shows it. Nothing for a model without any."""
    examples = {example.title: example for example in catalog.examples_of(choice.name)}
    if examples:
        st.menu_button(
            "Examples",
            list(examples),
            key=_MENU,
            icon=":material/lightbulb:",
            on_click=lambda: first_view.show(examples[st.session_state[_MENU]]),
            help="Inputs on which a head of this model does something clear.",
        )


def about(choice: ModelChoice) -> None:
    """What there is to see, while an example is shown, and why an input was replaced."""
    if note := first_view.note():
        st.info(note, icon=":material/info:")
    if example := first_view.shown(choice):
        title, sentence = map(escape_markdown, (example.title, example.about))
        st.markdown(f":material/lightbulb: **{title}** · {sentence}")
