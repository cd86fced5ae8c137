"""Explore: a pretrained model, a text, and any head of it with its exact numbers."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from attnviz.ui import loading, sidebar, state, tracing
from attnviz.ui.errors import as_text, attempt
from attnviz.ui.explore import focus, generation, grid, panels, pins, program
from attnviz.ui.explore import head as one_head
from attnviz.ui.explore.head import Head
from attnviz.ui.requests import TraceRequest
from attnviz.ui.trace_cache import key_of, remembering
from attnviz.ui.waiting import queue_status

FIRST_TEXT = "When Mary and John went to the store, John gave a drink to"

st.header("Explore", anchor=False)
with st.container(horizontal=True):
    about, waiting = st.empty(), st.empty()
about.caption(
    st.session_state.get("explore_about", "Every head of a model, with its exact numbers.")
)
choice, limit, beside_model = sidebar.model_controls()

# The last view that worked stays on screen while a choice or a text doesn't.
last = st.session_state.get("explore_last")
report = queue_status(waiting, "Loading the model")
model = attempt(lambda: loading.load(choice, report), beside_model) if choice else None
if model is None and last:
    choice = last[0]
    model = attempt(lambda: loading.load(choice, report), beside_model)
if model is None:
    about.caption("Choose a model in the sidebar.")
    st.stop()

if model.architecture == "vision":
    upload = st.file_uploader("Image", type=["png", "jpg", "jpeg", "webp"], key="image")
    request = TraceRequest.of_image(upload.getvalue()) if upload else None
else:
    mask = getattr(model.tokenizer, "mask_token", None)
    with st.container(horizontal=True):
        text = state.linked_text(
            "Text",
            key="text",
            default=FIRST_TEXT,
            height=84,
            help=f"`{mask}` is the token to be guessed." if mask else "",
        )
        target = pair = ""
        if model.architecture == "encoder-decoder":
            target = state.linked_text("Target, read by the decoder", key="target", height=84)
        elif model.architecture == "encoder":
            pair = state.linked_text("Second sentence, if any", key="pair", height=84)
    request = TraceRequest(text=text, target=target, pair=pair)
    request = generation.controls(choice, model, request)
beside_text = st.container()

if request is None:
    beside_text.caption("Upload an image to see how the model attends to its patches.")
    st.stop()
report = queue_status(waiting, "Writing" if request.sampling else "Tracing")
watch = st.session_state.get("explore_watch", (0, 0))  # of what is written the rows of this head
shown = attempt(
    lambda: generation.shown(choice, request, report, limit, beside_text, watch), beside_text
)
if shown is not None:
    st.session_state["explore_last"] = (choice, request)
elif last:
    choice, request = last
    model = loading.load(choice, report)
    shown = generation.shown(choice, request, report)
    beside_text.caption("Below is the last view that worked.")
else:
    st.stop()

trace = shown.trace
seen = generation.Seen(choice, request, key_of(trace))
remember = remembering(trace, report)
focus.settle((choice, replace(request, sampling=None)))
st.session_state["explore_about"] = as_text(panels.summary(choice.name, model, trace))
about.caption(st.session_state["explore_about"], help=" ".join(model.notes) or None)

strip, overview = st.container(border=True), st.container(border=True)
kinds = list(dict.fromkeys(layer.kind for layer in trace.layers))
with st.container(border=True, horizontal=True, gap="large"):
    controls, figure = st.container(width=240), st.container(width=670)
with controls:
    chosen = kinds[0]
    if len(kinds) > 1:
        chosen = st.segmented_control(
            "Attention", kinds, default=kinds[0], required=True, key="kind", bind="query-params"
        )
    layers = [layer for layer in trace.layers if layer.kind == chosen]
    layer = layers[state.linked_index("Layer", len(layers), key="layer")]
    head = state.linked_index("Head", layer.n_heads, key="head")
    view = st.segmented_control(
        "Show",
        list(one_head.VIEWS),
        default="Map",
        required=True,
        wrap=True,
        key="show",
        bind="query-params",
        help="  \n".join(f"**{name}** {what}" for name, what in one_head.VIEWS.items()),
    )
    trust = st.container()
st.session_state["explore_watch"] = (layer.index, head)
at = focus.current(trace)
here = focus.in_map(trace, layer, at)

# What was asked for comes first: of a long text the rest takes longer than the picture.
with figure:
    query = here.index if here and here.side == "row" else None
    asked = program.code(choice, request, layer, head, view, query)
    one_head.draw(Head(seen, layer, head, view, here, asked))
with strip:
    attempt(lambda: panels.tokens(seen, layer, head, at, shown.start, remember))
pins.pins(seen, layer, head)
with st.container(border=True, horizontal=True, gap="large"):
    stream, outcome = st.container(width=580), st.container(width=320)
with outcome:
    panels.predictions(model, trace, at, remember)
with stream:
    attempt(lambda: panels.stream(trace, layer, at, remember))
with trust:
    panels.receipt(
        trace, layer, lambda: tracing.fidelity(choice, request, trace, layer.index, report)
    )
with overview:
    attempt(lambda: grid.grid(seen, layer, head, report))
waiting.empty()
