"""What the canvas benchmark looks at: a trace of GPT-2-small's shape, and a page with one button.

The page makes its trace before the button is there; a click on the button is then all that lies
between a trace and a picture.
"""

from __future__ import annotations

from typing import Any

import streamlit as st
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import attnviz
from attnviz.canvas import grid_payload, lines_payload, map_payload
from attnviz.trace import Trace
from attnviz.ui.canvas import canvas

THREADS = 1  # of torch; more of them wait for each other where other work shares the machine
LAYER, HEAD = 0, 5


def trace_of(n: int, layers: int = 12, seed: int = 0) -> Trace:
    """n random tokens through random weights, the same in every process."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    config = GPT2Config(n_layer=layers, n_positions=max(n, 8))
    module = GPT2LMHeadModel(config).eval()
    for block in module.transformer.h:  # random weights attend evenly: make them pick
        block.attn.c_attn.weight.data[:, : 2 * config.n_embd] *= 6
    return attnviz.wrap(module).trace(inputs={"input_ids": torch.randint(0, 50_257, (1, n))})


def payload_of(mode: str, trace: Trace) -> Any:
    """What is sent to the browser for a mode."""
    if mode == "grid":
        return grid_payload(trace)
    if mode == "lines":
        return lines_payload(trace, LAYER)
    return map_payload(trace, LAYER, HEAD)


@st.cache_resource(max_entries=1)
def _held(n: int, layers: int, seed: int) -> Trace:
    return trace_of(n, layers, seed)


def show() -> None:
    """``?mode=map&n=4096&layers=1&seed=0``."""
    st.set_page_config(page_title="canvas", layout="wide")
    torch.set_num_threads(THREADS)  # a script runs in a thread of its own
    asked = st.query_params
    trace = _held(int(asked["n"]), int(asked["layers"]), int(asked["seed"]))
    if st.button("Show"):
        st.session_state["payload"] = payload_of(asked["mode"], trace)
    if "payload" in st.session_state:
        canvas(st.session_state["payload"], key="canvas", height=720)
