"""A model that writes alone on a page, and a head watched: ``?text=Once&layer=4&head=2``."""

from __future__ import annotations

import streamlit as st

from attnviz.canvas import map_payload
from attnviz.trace.requests import ModelChoice, TraceRequest
from attnviz.ui import model_loading
from attnviz.ui.canvas import canvas
from attnviz.ui.error_display import attempt
from attnviz.ui.generate import results, sampling
from attnviz.ui.waiting import queue_status

st.set_page_config(layout="wide")
layer, head = (int(st.query_params.get(name, "0")) for name in ("layer", "head"))
choice = ModelChoice(st.query_params.get("model", "smollm2-135m"), "cpu")
waiting = st.empty()
model = model_loading.load(choice, queue_status(waiting, "Loading the model"))
request = TraceRequest(text=st.query_params.get("text", "Once upon a time"))
request = sampling.controls(choice, model, request)
report = queue_status(waiting, "Writing")
room = st.container()
shown = attempt(
    lambda: results.trace_result(choice, request, report, None, room, (layer, head)), room
)
waiting.empty()
if shown is not None:
    st.subheader(f"{shown.trace.layers[layer].n_q} positions", anchor=False)
    canvas(map_payload(shown.trace, layer, head), key="map", height=500)
