"""The parts of Home: a sentence with its heads, a layer to turn, and cards that lead on."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

import attnviz
from attnviz.ui import query_params
from attnviz.ui.error_display import attempt
from attnviz.ui.home import live
from attnviz.ui.home.cards import cards
from attnviz.ui.home.component import show
from attnviz.ui.home.navigation import follow
from attnviz.ui.home.views import (
    D_MODEL,
    HEADS,
    MODEL,
    N_HEADS,
    TEXT,
    WIDTHS,
    SentenceView,
    kept,
    scientific,
)
from attnviz.ui.waiting import queue_status

MODEL_TITLE = "SmolLM2 135M"
LAYER_HEIGHT = 440  # pixels; the first screen has room for it at 1440 x 900
POLL_SECONDS = 1.0


def masthead() -> None:
    """The headline, version, license, documentation and theme."""
    word = kept()["sentence"]["answers"][0][0]
    lead = (
        "Attention decides which words each word draws on. These are heads of a real model, with "
        "their own numbers: hover a word, choose a head."
    )
    own = query_params.read("try").strip()
    title = "What heads attend to in your text" if own else f"How does a model know it is “{word}”?"
    content = {"title": title, "lead": lead, "version": attnviz.__version__}
    follow(show("masthead", content).go)


def sentence() -> str:
    """A person's own text or Home's, with its telling heads; returns the text."""
    own = query_params.read("try").strip()
    place, status = st.container(), st.empty()
    view = None
    if own:
        view = attempt(lambda: live.sentence(own, queue_status(status, "Reading")))
    if view is None:
        view = kept()["sentence"]
    with place:
        content = {**view, "model": MODEL, "own": own}
        result = show("sentence", content, announce=not live.is_loaded())
    follow(result.go, view["text"])
    if result.painted:
        live.warm_up()
    with status:
        _state(view)
    return own or TEXT


def _state(view: SentenceView) -> None:
    """Where the numbers come from, and whether the model is there for other texts."""
    verified = (
        f"All {view['layers']} layers verified: recomputing them gives the model's own outputs to "
        f"within {scientific(view['error'])} (float rounding)."
        if view["verified"]
        else "Not every layer could be verified on this text."
    )
    if live.is_warming_up():
        _wait_for_model(verified)
    elif live.is_loaded():
        st.caption(f"{MODEL_TITLE} is loaded. {verified}")
    else:
        st.caption(f"{MODEL_TITLE}. {verified}")


@st.fragment(run_every=POLL_SECONDS)
def _wait_for_model(verified: str) -> None:
    if not live.is_warming_up():
        st.rerun()
    st.caption(f"Loading {MODEL_TITLE} … {verified}")


@st.fragment
def layer(text: str) -> None:
    """A random layer over the same words, two of its settings, and all its maps."""
    d_model, n_heads = _choice("width", WIDTHS, D_MODEL), _choice("heads", HEADS, N_HEADS)
    view = attempt(lambda: live.layer(text, d_model, n_heads))
    if view is None:  # no words, or too many
        text, view = TEXT, live.layer(TEXT, d_model, n_heads)
    choices = {"widths": WIDTHS, "counts": HEADS, "d_model": d_model, "text": text}
    result = show("layer", {**view, **choices, "height": LAYER_HEIGHT})
    follow(result.go, text)


def _choice(parameter: str, choices: Sequence[int], default: int) -> int:
    """A number in the link, if it is one of the choices."""
    value = query_params.read(parameter)
    return int(value) if value in map(str, choices) else default


def examples() -> None:
    """Six examples, the other pages, and what is verified."""
    follow(show("cards", {"cards": cards(kept())}).go)
