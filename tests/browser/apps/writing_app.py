"""A model that writes alone on a page, and a head watched: ``?text=Once&layer=4&head=2``."""

from __future__ import annotations

import streamlit as st

from attnviz.canvas import map_payload
from attnviz.ui import models
from attnviz.ui.canvas import canvas
from attnviz.ui.errors import attempt
from attnviz.ui.explore import generation

st.set_page_config(layout="wide")
layer, head = (int(st.query_params.get(name, "0")) for name in ("layer", "head"))
choice = models.ModelChoice(st.query_params.get("model", "smollm2-135m"), "cpu")
waiting = st.empty()
model = models.load(choice, models.waiting_line(waiting, "Loading the model"))
question = models.Question(text=st.query_params.get("text", "Once upon a time"))
question = generation.controls(choice, model, question)
report = models.waiting_line(waiting, "Writing")
room = st.container()
shown = attempt(lambda: generation.shown(choice, question, report, None, room, (layer, head)), room)
waiting.empty()
if shown is not None:
    st.subheader(f"{shown.trace.layers[layer].n_q} positions", anchor=False)
    canvas(map_payload(shown.trace, layer, head), key="map", height=500)
