"""The canvas alone on a page, over a small model with random weights.

Its query parameters choose what is shown: ``?mode=map&n=300&layer=1&head=2``. Tests import
``trace_of`` to compare what is on screen with the backend's own numbers.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import streamlit as st
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

import attnviz
from attnviz.canvas import (
    CanvasState,
    Viewport,
    grid_payload,
    image_payload,
    lines_payload,
    map_payload,
    matrix_payload,
    neuron_payload,
    strip_payload,
)
from attnviz.canvas.naming import row_axis, source_line, token_names
from attnviz.trace import Trace
from attnviz.ui.canvas import canvas, canvas_state

# Words that must appear as themselves: markup, right to left, Chinese, emoji, white space.
ODD = (
    "<img src=x onerror=alert(1)>", "שלום", "مرحبا", "中文", "👩‍🚀", "\n", " the", "naïve", "&amp;",
    "a word that is much longer than any label has room for", "العربية", "🙂", "</script>", "漢字",
)  # fmt: skip
PLAIN = tuple(f"w{i}" for i in range(50))


def tokenizer() -> PreTrainedTokenizerFast:
    """Words between bars, each one a token."""
    words = {word: i for i, word in enumerate((*ODD, *PLAIN, "[UNK]"))}
    made = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = Split(Regex(r"\|"), "removed")
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def text_of(n: int) -> str:
    """n words; every odd one is among the first."""
    words = (*ODD, *PLAIN)
    return "|".join(words[(i * 7) % len(words) if i >= len(ODD) else i] for i in range(n))


def model_of(kind: str, n: int) -> Any:
    torch.manual_seed(3)
    vocabulary = len(ODD) + len(PLAIN) + 1
    if kind == "encoder-decoder":
        config = T5Config(
            vocab_size=vocabulary, d_model=48, d_kv=12, d_ff=64, num_layers=2, num_heads=4
        )
        config.decoder_start_token_id = 0
        return T5ForConditionalGeneration(config).eval()
    if kind == "encoder":
        shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
        module = BertModel(
            BertConfig(
                vocab_size=vocabulary, intermediate_size=64, max_position_embeddings=n, **shape
            )
        )
        return module.eval()
    layers, heads, width = (12, 12, 768) if kind == "gpt2" else (3, 4, 64)
    module = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_layer=layers,
            n_head=heads,
            n_embd=width,
            n_positions=max(n, 8),
            bos_token_id=0,
            eos_token_id=0,
        )
    ).eval()
    for block in module.transformer.h:  # random weights attend evenly: make them pick
        block.attn.c_attn.weight.data[:, : 2 * width] *= 6
    return module


@functools.lru_cache(8)
def trace_of(kind: str, n: int, more: str = "") -> Trace:
    """A trace of n tokens, and of ``more`` text, the same in every process."""
    model = attnviz.wrap(model_of(kind, n + bool(more)), tokenizer())
    target = text_of(max(2, n // 2)) if kind == "encoder-decoder" else None
    return model.trace(text_of(n) + more, target=target)


@functools.lru_cache(1)
def image_trace() -> Trace:
    """The digit model's trace of a picture that is no square, in color."""
    pixels = np.random.default_rng(5).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    return attnviz.load("tiny-digits", device="cpu").trace(image=picture)


@st.cache_resource(max_entries=8)
def shared_trace(kind: str, n: int, more: str = "") -> Trace:
    return trace_of(kind, n, more)


def show() -> None:
    asked = st.query_params
    mode, kind, n = asked.get("mode", "grid"), asked.get("kind", "decoder"), int(asked.get("n", 64))
    trace = shared_trace(kind, n, "|🦄" if "unknown" in asked else "")
    layer, head = int(asked.get("layer", 1)), int(asked.get("head", 2))
    state = canvas_state("canvas")
    payload: Any
    if mode == "grid":
        payload = grid_payload(trace, selected=state.selected)
    elif mode == "map":
        head = head if not st.toggle("another head") else head - 1
        quantity: Any = asked.get("quantity", "weights")
        payload = map_payload(
            trace,
            layer,
            head,
            state.view or _linked(asked.get("view")),
            quantity=quantity,
            report="report" in asked,
        )
    elif mode == "strip":
        start = int(asked["start"]) if "start" in asked else None
        payload = strip_payload(trace, layer, head, focus=state.token, start=start)
    elif mode == "lines":
        payload = lines_payload(trace, layer)
    elif mode == "matrix":
        payload = matrix_payload(
            trace.attention(layer, head).k.numpy(),
            token_names(trace.col_tokens(layer)),
            [str(i) for i in range(trace.attention(layer, head).k.shape[1])],
            title="Keys <of> a head",
            id="keys",
            col_title="dimension",
            value_title="K",
            two_sided=True,
        )
    elif mode == "image":
        kept = None if state.token is None else state.token.index
        payload = image_payload(image_trace(), layer, head, kept)
    else:
        payload = neuron_payload(trace, layer, head, state.query)
    message = len(payload.encode())
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    done = canvas(
        payload,
        key="canvas",
        height=int(asked.get("height", 640)),
        compact="compact" in asked,
        source=source_line(trace, "tiny"),
    )
    st.code(json.dumps({"runs": st.session_state["runs"], "bytes": message, **_plain(done)}))


def show_together() -> None:
    """Several canvases of one trace, then one of another trace; or three of an image."""
    if st.query_params.get("kind") == "image":
        image = image_trace()
        of_image = (
            image_payload(image, 1, 2),
            map_payload(image, 1, 2),
            strip_payload(image, 1, 2),
        )
        for i, payload in enumerate(of_image):
            canvas(payload, key=f"image{i}", height=400)
        st.session_state["runs"] = st.session_state.get("runs", 0) + 1
        st.code(json.dumps({"runs": st.session_state["runs"]}))
        return
    kind, n = st.query_params.get("kind", "decoder"), int(st.query_params.get("n", "12"))
    trace, other = shared_trace(kind, n), shared_trace("encoder", n)
    layer = int(st.query_params.get("layer", "1"))
    norms = np.ones((trace.layers[layer].n_q, 3))
    names = [str(i) for i in range(len(norms))]
    axis = row_axis(trace, layer)
    payloads = {
        "map": map_payload(trace, layer, 2),
        "strip": strip_payload(trace, layer, 2),
        "lines": lines_payload(trace, layer),
        "neuron": neuron_payload(trace, layer, 2),
        "norms": matrix_payload(
            norms, names, "abc", title="t", id="i", row_axis=axis, row_title="token"
        ),
        "grid": grid_payload(trace),
        "other": map_payload(other, 1, 2),
    }
    for key, payload in payloads.items():
        canvas(payload, key=key, height=300)
    st.session_state["runs"] = st.session_state.get("runs", 0) + 1
    st.code(json.dumps({"runs": st.session_state["runs"]}))


def _linked(view: str | None) -> Viewport | None:
    """The view in a link: first and last row, first and last column."""
    if view is None:
        return None
    r0, r1, c0, c1 = map(int, view.split(","))
    return Viewport((r0, r1), (c0, c1))


def _plain(state: CanvasState) -> dict[str, Any]:
    view, token = state.view, state.token
    return {
        "selected": state.selected,
        "cell": state.cell,
        "query": state.query,
        "view": None if view is None else [view.rows, view.cols],
        "token": None if token is None else [token.side, token.index],
    }


if __name__ == "__main__":
    st.set_page_config(page_title="canvas", layout="wide")
    show_together() if "together" in st.query_params else show()
