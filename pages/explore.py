"""Explore: a pretrained model, a text, and any head of it with its exact numbers."""

from __future__ import annotations

import streamlit as st

from attnviz.ui import heads, models, panels, sidebar, state, views, writing
from attnviz.ui.errors import as_text, attempt
from attnviz.ui.models import Question

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
report = models.waiting_line(waiting, "Loading the model")
model = attempt(lambda: models.load(choice, report), beside_model) if choice else None
if model is None and last:
    choice = last[0]
    model = attempt(lambda: models.load(choice, report), beside_model)
if model is None:
    about.caption("Choose a model in the sidebar.")
    st.stop()

kind = models.kind_of(model)
left, right = st.columns([3, 2], gap="large")
with left:
    if kind == "vision":
        upload = st.file_uploader("Image", type=["png", "jpg", "jpeg", "webp"], key="image")
        question = Question.of_image(upload.getvalue()) if upload else None
    else:
        mask = getattr(model.tokenizer, "mask_token", None)
        text = state.linked_text(
            "Text",
            key="text",
            default=FIRST_TEXT,
            help=f"`{mask}` is the token to be guessed." if mask else "",
        )
        target = pair = ""
        if kind == "encoder-decoder":
            target = state.linked_text("Target, read by the decoder", key="target", height=68)
        elif kind == "encoder":
            pair = state.linked_text("Second sentence, if any", key="pair", height=68)
        question = Question(text=text, target=target, pair=pair)
        question = writing.controls(choice, model, question)
    beside_text = st.container()

if question is None:
    beside_text.caption("Upload an image to see how the model attends to its patches.")
    st.stop()
report = models.waiting_line(waiting, "Writing" if question.sampling else "Tracing")
shown = attempt(lambda: writing.shown(choice, question, report, limit, beside_text), beside_text)
if shown is not None:
    st.session_state["explore_last"] = (choice, question)
elif last:
    choice, question = last
    model = models.load(choice, report)
    shown = writing.shown(choice, question, report)
    beside_text.caption("Below is the last view that worked.")
else:
    st.stop()

trace = shown.trace
st.session_state["explore_about"] = as_text(views.summary(choice.name, model, trace))
about.caption(st.session_state["explore_about"], help=" ".join(model.notes) or None)
with left:
    at = panels.token_chips(trace, shown.start)
with right:
    panels.predictions(model, trace, at)

overview = st.container(border=True)
kinds = list(dict.fromkeys(layer.kind for layer in trace.layers))
with st.container(border=True, horizontal=True, gap="large"):
    controls, figure = st.container(width=270), st.container(width=640)
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
        [*views.VIEWS, *heads.VIEWS],
        default="Weights",
        required=True,
        wrap=True,
        key="show",
        bind="query-params",
    )
    rows = state.linked_window("From query", layer.n_q, views.WINDOW, key="row")
    cols = state.linked_window("From key", layer.n_k, views.WINDOW, key="col")
    panels.receipt(layer, models.fidelity(choice, question, trace, layer.index, report))
with overview:
    pictures = attempt(lambda: models.grid(choice, question, trace, report))
    waiting.empty()
    if pictures is not None:
        heads.grid(pictures, trace, layer, head)
with figure:
    if view in heads.VIEWS:
        attempt(lambda: heads.one_head(trace, layer, head, view))
    else:
        matrix = attempt(lambda: views.matrix(trace, layer, head, view, rows, cols))
        if matrix is not None:
            panels.picture(matrix, layer, head, view)
attempt(lambda: heads.pins(trace, layer, head))
