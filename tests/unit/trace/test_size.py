"""The size of a trace is estimated before it is made."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import attnviz
from attnviz.trace.size import trace_bytes


@pytest.mark.parametrize("keep", [("qkv", "residual"), ("qkv", "residual", "output", "logits")])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_trace_bytes_estimates_the_size_of_a_trace(kind: str, keep: tuple[str, ...]) -> None:
    if kind == "gpt2":
        config = GPT2Config(n_layer=3, n_head=4, n_embd=64, vocab_size=90, n_positions=256)
        module = GPT2LMHeadModel(config).eval()
    else:
        config = LlamaConfig(
            num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, hidden_size=64,
            intermediate_size=64, vocab_size=90,
        )  # fmt: skip
        module = LlamaForCausalLM(config).eval()
    model = attnviz.wrap(module)
    ids = torch.arange(200)[None] % 90
    made = model.trace(inputs={"input_ids": ids}, keep=keep)
    # not estimated: the last logits, masks, the stream behind the last block
    assert made.nbytes == pytest.approx(trace_bytes(model, 200, keep), rel=0.2)
