"""Explore: a pretrained model, a text, and any head of it with its exact numbers."""

from __future__ import annotations

import streamlit as st

from attnviz.ui.error_display import attempt
from attnviz.ui.explore import explanation, focus, head_grid, head_view, panels, pins
from attnviz.ui.explore.head_payload import HeadView
from attnviz.ui.explore.layout import panes
from attnviz.ui.head_choice import choose_head
from attnviz.ui.model_page import ModelPage

frame = ModelPage("Explore", "Every head of a model, with its exact numbers.")
page = frame.trace()

pane = panes()
with pane.grid:
    layer, head = choose_head(page.trace)
with pane.head:
    view = head_view.choose_view()
at = focus.current(page.trace, page.ref)

# The selected head comes first: of a long text, the rest takes longer than its picture.
with pane.head:
    head_view.draw(HeadView(page.ref, layer, head, view, focus.in_map(page.trace, layer, at)))
with pane.tokens:
    attempt(lambda: panels.tokens(page, layer, head, at))
with pane.explanation:
    attempt(lambda: explanation.head(page, layer, head))
    attempt(lambda: explanation.cell(page, layer, head))
    panels.predictions(page, at)
    panels.receipt(page, layer)
    explanation.view(view)
with pane.grid:
    attempt(lambda: head_grid.grid(page.ref, layer, head, page.report))
pins.pins(page.ref, layer, head)
with st.container(border=True):
    attempt(lambda: panels.stream(page, layer, at))
frame.done()
