"""What a model opens on: an example of its own, or what was last shown of it.

What a person typed follows to another model, if that can read it. An example stays with its model,
and so does an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from attnviz.models import catalog
from attnviz.models.readable import can_read
from attnviz.ui import query_params
from attnviz.ui.error_display import escape_markdown
from attnviz.ui.explore import focus

if TYPE_CHECKING:
    from attnviz.models.examples import Example
    from attnviz.trace.model import Model
    from attnviz.trace.requests import ModelChoice

FIRST_TEXT: Final = "When Mary and John went to the store, John gave a drink to"

_TEXTS = ("text", "target", "pair")  # names of widgets, and of their parts of the link
_INPUTS = (*_TEXTS, "digit")
_HEAD = ("kind", "layer", "head")
_IMAGE = query_params.kept_name("image")
_LINKED_INPUTS = (*_INPUTS, *map(query_params.kept_name, _TEXTS), _IMAGE)
_PLACES = ("at", "cell", "zoom", "pins", "written")  # in the link, of one input alone
_OWN = "_own_inputs"  # what was last shown of each model
_SHOWN = "_shown_model"
_NOTE = "_first_view_note"


def open_model(choice: ModelChoice, model: Model) -> None:
    """Before the controls are drawn: set them for a model that was not shown before.

    A link has the last word: what it names stays.
    """
    before: str | None = st.session_state.get(_SHOWN)
    st.session_state[_SHOWN] = choice.name
    if query_params.went_back():
        _complete_link(choice.name)
    if before == choice.name or query_params.went_back():
        return
    st.session_state.pop(_NOTE, None)
    if before is not None:
        _remember(before)
    if before is None or query_params.page_opened():
        _complete_link(choice.name)
    else:
        _switch(before, choice.name, model)


def _remember(name: str) -> None:
    """Keep what is shown of a model, to be shown again."""
    values = {key: st.session_state[key] for key in (*_INPUTS, *_HEAD) if key in st.session_state}
    places = {key: query_params.read(key) for key in ("at", "cell", _IMAGE)}
    st.session_state.setdefault(_OWN, {})[name] = (values, places)


def _complete_link(name: str) -> None:
    """Set what a link to this model leaves open: all, or the head."""
    examples = catalog.examples_of(name)
    if any(map(query_params.read, _HEAD)):
        return
    query_params.completed()
    if not examples:
        _forget_head()
    elif any(map(query_params.read, _LINKED_INPUTS)):
        _set_head(examples[0])
    else:
        show(examples[0])


def _switch(before: str, name: str, model: Model) -> None:
    """Set the controls after another model was chosen by hand."""
    own, places = st.session_state[_OWN].get(name, ({}, {}))
    examples = catalog.examples_of(name)
    text: str = st.session_state.get("text") or ""
    typed = bool(text) and text not in _texts_of_examples(before)
    reads_text = model.architecture != "vision" and model.tokenizer is not None
    readable = reads_text and can_read(model.loaded, text)
    _forget_places()
    if typed and readable:
        st.session_state.update(own or {"target": "", "pair": ""})
        st.session_state["text"] = text
    elif own:
        st.session_state.update(own)
        for key, value in places.items():
            query_params.write(key, value or None)
    elif examples:
        show(examples[0])
    else:
        st.session_state.update({"target": "", "pair": ""})
        if reads_text and not readable:
            st.session_state["text"] = FIRST_TEXT
    if not own and ((typed and readable) or not examples):
        _forget_head()
    if typed and not readable:
        why = "it does not know most of the words" if reads_text else "it reads images"
        st.session_state[_NOTE] = (
            f"{escape_markdown(name)} can't read your text ({why}), so it shows an input of its "
            "own. Your text is back when you choose the model before."
        )


def _texts_of_examples(name: str) -> tuple[str, ...]:
    return (FIRST_TEXT, *(example.text for example in catalog.examples_of(name)))


def show(example: Example) -> None:
    """Set the controls to an example; only before they are drawn."""
    st.session_state.update(_inputs(example))
    _set_head(example)
    _forget_places()
    side = "s" if example.target and example.kind == "encoder" else ""
    query_params.write("at", f"{side}{example.query}")
    query_params.write("cell", f"{example.kind}.{example.query}.{example.key}")


def shown(choice: ModelChoice) -> Example | None:
    """The example whose input and head are shown now, if any."""
    state = st.session_state
    place = (state.get("layer", 0), state.get("head", 0))
    for example in catalog.examples_of(choice.name):
        same_input = all(
            state.get(name, value) == value for name, value in _inputs(example).items()
        )
        if same_input and place == (example.layer, example.head):
            return example
    return None


def _inputs(example: Example) -> dict[str, str]:
    """The values of the controls, by their names."""
    digit = "none" if example.digit is None else str(example.digit)
    return {name: getattr(example, name) for name in _TEXTS} | {"digit": digit}


def note() -> str:
    """In Markdown, why the input is not the one of before; empty if it is."""
    text: str = st.session_state.get(_NOTE, "")
    return text


def _set_head(example: Example) -> None:
    values = {"kind": example.kind, "layer": example.layer, "head": example.head}
    st.session_state.update(values)


def _forget_head() -> None:
    """Leave the head to ``choose_head``, which finds the most structured one."""
    for name in ("layer", "head"):
        st.session_state.pop(name, None)
        query_params.write(name, None)


def _forget_places() -> None:
    """Remove from the link what was chosen in another input; what comes after stays."""
    for name in _PLACES:
        query_params.write(name, None)
    focus.keep()
