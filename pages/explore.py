"""Explore: a pretrained model, a text, and any head of it with its exact numbers."""

from __future__ import annotations

import streamlit as st

from attnviz.ui import tracing
from attnviz.ui.error_display import attempt
from attnviz.ui.explore import controls, focus, head, head_grid, panels, pins
from attnviz.ui.model_page import ModelPage

frame = ModelPage("Explore", "Every head of a model, with its exact numbers.")
choice, model = frame.load()
request = controls.request(choice, model)
model, trace, seen, start, report, remember = frame.trace(choice, model, request)

strip, overview = st.container(border=True), st.container(border=True)
with st.container(border=True, horizontal=True, gap="large"):
    beside, figure = st.container(width=240), st.container(width=670)
with beside:
    layer, n, view = controls.head(trace)
    trust = st.container()
frame.watch(layer.index, n)
at = focus.current(trace)

# What was asked for comes first: of a long text the rest takes longer than the picture.
with figure:
    head.draw(head.Head(seen, layer, n, view, focus.in_map(trace, layer, at)))
with strip:
    attempt(lambda: panels.tokens(seen, layer, n, at, start, remember))
pins.pins(seen, layer, n)
with st.container(border=True, horizontal=True, gap="large"):
    stream, outcome = st.container(width=580), st.container(width=320)
with outcome:
    panels.predictions(model, trace, at, remember)
with stream:
    attempt(lambda: panels.stream(trace, layer, at, remember))
with trust:
    panels.receipt(
        trace,
        layer,
        lambda: tracing.fidelity(seen.choice, seen.request, trace, layer.index, report),
    )
with overview:
    attempt(lambda: head_grid.grid(seen, layer, n, report))
frame.done()
