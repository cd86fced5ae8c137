"""A shared model is read-only: a trace changes nothing, and other threads are unaffected."""

from __future__ import annotations

import copy
import gc
import threading
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

import attnviz
from attnviz import AttnVizError
from tests.unit.trace.models import BUILD, N, build, inputs, tokens


def state(module: nn.Module) -> tuple[Any, ...]:
    hooks = [
        (n, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in module.named_modules()
    ]
    return (
        copy.deepcopy(module.config.to_dict()),
        module.config._attn_implementation,
        [m.training for m in module.modules()],
        hooks,
        {n: (t.data_ptr(), t._version, t.clone()) for n, t in module.state_dict().items()},
    )


def assert_same(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    assert before[:4] == after[:4]
    for name, (where, version, values) in before[4].items():
        assert after[4][name][:2] == (where, version)
        assert torch.equal(after[4][name][2], values)


@pytest.mark.parametrize("name", BUILD)
def test_a_trace_does_not_change_the_model(name: str) -> None:
    module = build(name)
    before = state(module)
    attnviz.wrap(module).trace(inputs=inputs(name))
    assert_same(before, state(module))


def test_an_interrupted_trace_leaves_nothing_behind() -> None:
    """Streamlit stops a script with a BaseException, at any moment."""

    class Stop(BaseException):
        pass

    module = build("gpt2")
    before = state(module)

    class Interrupting:
        layer = 1

        def change(self, layer: Any, output: Any) -> Any:
            raise Stop

    model = attnviz.wrap(module)
    with pytest.raises(Stop):
        model.trace(inputs=inputs("gpt2"), edits=[Interrupting()])
    assert_same(before, state(module))
    found = ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", lambda *a: None)
    assert found is sdpa_attention_forward
    assert len(model.trace(inputs=inputs("gpt2")).layers) == 2


def test_without_a_trace_the_lookup_is_transformers_own() -> None:
    def explicit(*_: Any) -> None: ...

    assert AttentionInterface().get_interface("sdpa", explicit) is sdpa_attention_forward
    assert AttentionInterface().get_interface("eager", explicit) is explicit


def test_threads_that_share_a_model_do_not_see_each_other() -> None:
    model = attnviz.wrap(build("llama"))
    texts = [{"input_ids": tokens(1, 8 + i, seed=i)} for i in range(6)]
    alone = [model.trace(inputs=t).attention(1, 2).weights() for t in texts]
    together: list[Any] = [None] * len(texts)
    plain: list[Any] = [None] * len(texts)

    def record(i: int) -> None:
        for _ in range(5):
            trace = model.trace(inputs=texts[i])
            together[i] = (len(trace.layers), trace.n_residuals(), trace.attention(1, 2).weights())

    def run(i: int) -> None:
        with torch.no_grad():
            plain[i] = model.module(**texts[i]).logits

    threads = [threading.Thread(target=f, args=(i,)) for i in range(6) for f in (record, run)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, (layers, residuals, weights) in enumerate(together):
        assert (layers, residuals) == (2, 3)
        torch.testing.assert_close(weights, alone[i], rtol=0, atol=1e-6)
        assert plain[i] is not None


def test_a_layer_whose_arguments_do_not_match_its_output_is_not_exact() -> None:
    """A custom attention function that ignores its arguments is detected."""

    def uniform(module, query, key, value, attention_mask, **kwargs):  # type: ignore[no-untyped-def]
        mean = value.mean(2, keepdim=True).repeat_interleave(2, 1)
        return mean.expand(-1, -1, query.shape[2], -1).transpose(1, 2), None

    AttentionInterface.register("test_uniform", uniform)
    try:
        module = build("llama")
        module.config._attn_implementation = "test_uniform"
        trace = attnviz.wrap(module).trace(inputs=inputs("llama"))
        assert {x.source for x in trace.layers} == {"refused"}
        assert all(x.reason for x in trace.layers)
        assert not any(f.passed for f in trace.fidelity())
        with pytest.raises(AttnVizError, match="cannot be shown"):
            trace.attention(0, 0)
    finally:
        del AttentionInterface._global_mapping["test_uniform"]


def test_a_trace_takes_memory_linear_in_the_text() -> None:
    model = attnviz.wrap(build("gpt2"))
    short = model.trace(inputs={"input_ids": tokens(1, 100)}).nbytes
    long = model.trace(inputs={"input_ids": tokens(1, 1000)}).nbytes
    assert long < 10.5 * short


def test_a_running_trace_allocates_only_what_it_keeps() -> None:
    """A forward pass peaks in a feed-forward layer, when the memory of attention is free again."""
    module, n, d = build("gpt2"), 256, 32
    peaks: list[int] = []

    def look(*_: Any) -> None:
        gc.collect()
        real = (torch.Tensor, torch.nn.Parameter)  # a compiler's fake tensors have no memory
        tensors = [t for t in gc.get_objects() if type(t) in real]
        peaks.append(
            sum({s.data_ptr(): s.nbytes() for s in (t.untyped_storage() for t in tensors)}.values())
        )

    handle = module.transformer.h[1].mlp.register_forward_pre_hook(look)
    try:
        with torch.no_grad():
            module(input_ids=tokens(1, n), use_cache=False)
        trace = attnviz.wrap(module).trace(inputs={"input_ids": tokens(1, n)})
    finally:
        handle.remove()
    plain, traced = peaks
    assert trace.n_residuals() == 3
    one = 4 * n * d
    kept = one * (
        3 + 3 + 1
    )  # Q, K, V of two blocks, the first's input; the second's is the model's
    assert kept <= traced - plain < kept + one  # masks and signs, small beside one more matrix


def test_a_trace_takes_no_more_memory_than_nbytes() -> None:
    """Fused projections: values must not keep alive the queries and keys beside them."""
    config = GPTNeoXConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, rope_parameters={"rope_theta": 1e4, "partial_rotary_factor": 1.0},
    )  # fmt: skip
    trace = attnviz.wrap(GPTNeoXForCausalLM(config).eval()).trace(inputs=inputs("gpt2"))
    for layer in trace.layers:
        assert layer.source == "exact"
        a = trace.attention(layer.index, 0)
        parts = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in (a.q, a.k, a.v)}
        assert sum(s.nbytes() for s in parts.values()) <= 1.5 * 3 * 2 * N * 32 * 4


@pytest.mark.parametrize("writing", [[], [0, 1], [1]])
def test_blocks_that_write_to_their_inputs(writing: list[int]) -> None:
    """The residual is the input before it was written to, or it is refused."""
    module, entered = build("gpt2"), []

    def note(_: nn.Module, args: Any, kwargs: Any) -> None:
        entered.append((args[0] if args else kwargs["hidden_states"]).clone())

    def write(_: nn.Module, args: Any) -> None:
        args[0].add_(1)

    for i, block in enumerate(module.transformer.h):
        block.register_forward_pre_hook(note, with_kwargs=True)
        if i in writing:
            block.ln_1.register_forward_pre_hook(write)
    trace = attnviz.wrap(module).trace(inputs={"input_ids": tokens(1, N)})
    if writing == [1]:
        with pytest.raises(AttnVizError, match="write to what enters them"):
            trace.residual(1)
        return
    for i, before in enumerate(entered[:2]):
        assert torch.equal(trace.residual(i), before[0])
