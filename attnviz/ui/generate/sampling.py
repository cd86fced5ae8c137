"""The controls of a generation: how the model samples, and how many tokens, all in the link."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from attnviz.glossary import term
from attnviz.trace.requests import ModelChoice, Sampling, TraceRequest
from attnviz.ui import query_params
from attnviz.ui.query_params import linked_integer

if TYPE_CHECKING:
    from attnviz.trace.model import Model

MAX_TOKENS = 1024  # generated after one text
_LINK = "written"  # the query parameter: how many tokens are requested
_ORIGIN = "_written_after"


def controls(choice: ModelChoice, model: Model, request: TraceRequest) -> TraceRequest:
    """Draw the buttons and the settings; returns the request with the sampling, if any is on."""
    if not model.module.can_generate():
        return request
    origin = (choice, request)
    if st.session_state.setdefault(_ORIGIN, origin) != origin:
        st.session_state[_ORIGIN] = origin
        if not query_params.link_opened():
            request_tokens(0)  # nothing has been generated after a new text
    n_tokens = requested_tokens()
    at_most = n_tokens >= MAX_TOKENS
    with st.container(horizontal=True, vertical_alignment="center", width="content"):
        write, step = st.empty(), st.empty()
        with st.popover("Sampling", icon=":material/tune:"):
            sampling = _settings()
        write.button(
            "Generate",
            icon=":material/edit:",
            on_click=request_tokens,
            args=(n_tokens + sampling.tokens,),
            disabled=at_most,
            help=f"Continues the text by up to {sampling.tokens} tokens, or until the model stops. "
            "Everything below then covers the generated tokens too.",
        )
        step.button(
            "+1 token",
            on_click=request_tokens,
            args=(n_tokens + 1,),
            disabled=at_most,
            help="Generates one more token.",
        )
        if n_tokens:
            st.button("Reset", icon=":material/undo:", on_click=request_tokens, args=(0,))
    if not n_tokens:
        return request
    # the decoder of an encoder-decoder reads what it has generated, and no target besides
    return replace(request, target="", sampling=replace(sampling, tokens=n_tokens))


def requested_tokens() -> int:
    """How many generated tokens the link requests."""
    text = query_params.read(_LINK)
    return min(int(text), MAX_TOKENS) if text.isdecimal() and len(text) < 6 else 0


def request_tokens(n_tokens: int) -> None:
    """Put the number of generated tokens into the link."""
    query_params.write(_LINK, str(min(n_tokens, MAX_TOKENS)) if n_tokens else None)


def _settings() -> Sampling:
    """The controls of the sampling; other pages have a seed of their own."""
    temperature = st.slider(
        "Temperature", 0.0, 2.0, 0.0, 0.1, key="draw_temperature", bind="query-params",
        help=term("temperature", "0 always picks the most likely token (greedy)."),
    )  # fmt: skip
    greedy = temperature == 0
    top_k = linked_integer(
        st, "Top k", 0, 1000, key="draw_top_k", disabled=greedy,
        help="Samples from the k most likely tokens only; 0 means no limit.",
    )  # fmt: skip
    top_p = st.slider(
        "Top p", 0.05, 1.0, 1.0, 0.05, key="draw_top_p", bind="query-params", disabled=greedy,
        help="Nucleus sampling: the smallest set of tokens whose total probability reaches p.",
    )  # fmt: skip
    seed = linked_integer(
        st, "Seed", 0, 2**31 - 1, key="draw_seed", disabled=greedy,
        help="The same seed gives the same tokens.",
    )  # fmt: skip
    tokens = st.slider("Tokens per click", 1, 256, 20, key="draw_tokens", bind="query-params")
    if greedy:  # settings without effect make no other request
        return Sampling(tokens)
    return Sampling(tokens, temperature, top_k, top_p, seed)
