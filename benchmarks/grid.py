"""All heads of a text against the plain forward pass, on SmolLM2-135M's shape with random weights.

    python -m benchmarks.grid

270 heads, on two threads. Forward and grid take turns, so that load falls on both alike, and the
best of each counts. Threads sleep while they wait, as they do in the app.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

import attnviz
from attnviz.canvas import grid_layer
from benchmarks.figure import Figure, in_child, show

TITLE = "All 270 heads of a text (SmolLM2-135M's shape)"
THREADS = 2
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # as app.py sets it


def measure() -> list[Figure]:
    """The grid over the plain forward, and its first layer."""
    figures = []
    for n in (256, 1024, 4096):
        got = in_child("benchmarks.grid", str(n), **_WAITING)
        share = got["grid"] / got["plain"]
        said = f"{share:.2f} x ({got['grid']:.2f} s : {got['plain']:.2f} s)"
        figures += [
            Figure(f"grid : plain forward, {n:,} tokens", "<= 0.6 x", said, share <= 0.6),
            Figure(
                f"... its first layer, {n:,} tokens",
                "< 1 s",
                f"{got['first']:.2f} s",
                got["first"] < 1,
            ),
        ]
    return figures


def _child(n: int) -> dict[str, float]:
    """Seconds of a forward pass, of all layers' heads, and of the first layer's."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    module = LlamaForCausalLM(config).eval()
    for block in module.model.layers:  # random weights attend evenly: make them pick
        block.self_attn.q_proj.weight.data *= 6
        block.self_attn.k_proj.weight.data *= 6
    ids = torch.randint(0, 5_000, (1, n), generator=torch.Generator().manual_seed(n))
    trace = attnviz.wrap(module).trace(inputs={"input_ids": ids})
    best = dict.fromkeys(("plain", "grid", "first"), float("inf"))
    for _ in range(5 if n < 1024 else 2):
        start = time.perf_counter()
        with torch.no_grad():
            module(input_ids=ids, use_cache=False)
        best["plain"] = min(best["plain"], time.perf_counter() - start)
        start = time.perf_counter()
        for layer in trace.layers:
            grid_layer(trace, layer.index)
            if layer.index == 0:
                best["first"] = min(best["first"], time.perf_counter() - start)
        best["grid"] = min(best["grid"], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(json.dumps(_child(int(sys.argv[1]))))
    else:
        show(TITLE, measure)
