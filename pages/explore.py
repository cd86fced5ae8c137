"""Explore: a pretrained model, a text, and any head of it with its exact numbers."""

from __future__ import annotations

import streamlit as st

from attnviz.ui.error_display import attempt
from attnviz.ui.explore import focus, head_grid, head_view, panels, pins
from attnviz.ui.explore.head_payload import HeadView
from attnviz.ui.head_choice import choose_head
from attnviz.ui.model_page import ModelPage

frame = ModelPage("Explore", "Every head of a model, with its exact numbers.")
page = frame.trace()

strip, overview = st.container(border=True), st.container(border=True)
with st.container(border=True, horizontal=True, gap="large"):
    choice, figure = st.container(width=240), st.container(width=670)
with choice:
    layer, head = choose_head(page.trace)
    view = head_view.choose_view()
    trust = st.container()
at = focus.current(page.trace, page.ref)

# The selected head comes first: of a long text, the rest takes longer than its picture.
with figure:
    token = focus.in_map(page.trace, layer, at)
    head_view.draw(HeadView(page.ref, layer, head, view, token))
with strip:
    attempt(lambda: panels.tokens(page, layer, head, at))
pins.pins(page.ref, layer, head)
with st.container(border=True, horizontal=True, gap="large"):
    stream, outcome = st.container(width=580), st.container(width=320)
with outcome:
    panels.predictions(page, at)
with stream:
    attempt(lambda: panels.stream(page, layer, at))
with trust:
    panels.receipt(page, layer)
with overview:
    attempt(lambda: head_grid.grid(page.ref, layer, head, page.report))
frame.done()
