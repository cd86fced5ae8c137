"""Explore: a pretrained model, a text, and any head of it with its exact numbers."""

from __future__ import annotations

import streamlit as st

from attnviz.ui.error_display import attempt
from attnviz.ui.explore import (
    example_menu,
    explanation,
    export_menu,
    focus,
    head_grid,
    head_view,
    panels,
    panes,
    pins,
    share,
)
from attnviz.ui.explore.first_head import first_head
from attnviz.ui.explore.head_payload import HeadView
from attnviz.ui.head_choice import choose_head
from attnviz.ui.model_page import ModelPage

panes.style()
frame = ModelPage("Explore", "Every head of a model, with its exact numbers.")
page = frame.trace()

pane = panes.panes()
with pane.grid:
    layer, head = choose_head(page.trace, lambda: first_head(page))
at = focus.current(page.trace, page.ref)
focused = focus.in_map(page.trace, layer, at)

# The selected head comes first: of a long text, the rest takes longer than its picture.
with pane.head:
    view = head_view.draw(page.ref, layer, head, focused)
with frame.bar:
    example_menu.menu(page.ref.choice)
    share.menu(page.ref.choice)
    export_menu.menu(HeadView(page.ref, layer, head, view, focused))
with pane.tokens:
    attempt(lambda: panels.tokens(page, layer, head, at))
with pane.explanation:
    example_menu.about(page.ref.choice)
    attempt(lambda: explanation.head(page, layer, head))
    attempt(lambda: explanation.cell(page, layer, head))
    attempt(lambda: explanation.query(page, layer, head, focused))
    explanation.predictions(page, at)
    panels.receipt(page, layer)
    explanation.lab_link(layer)
    explanation.view(view)
with pane.grid:
    attempt(lambda: head_grid.grid(page.ref, layer, head, page.report))
pins.pins(page.ref, layer, head)
with st.container(border=True):
    attempt(lambda: panels.stream(page, layer, at))
frame.done()
