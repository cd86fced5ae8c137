"""A receipt must be able to fail, and must pass where the map is right."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

import attnviz
from attnviz.edits import Temperature
from attnviz.trace.fidelity import Check, Checks, Rounding, compare, receipt, sampled_rows
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import QKVRecord
from tests.unit.trace.models import BUILD, build, inputs, tokens

LONG = 150  # more rows than are all checked while recording


@contextmanager
def registered(name: str, function: Callable[..., Any], mask: Any = None) -> Iterator[None]:
    """A custom attention implementation, registered with transformers."""
    AttentionInterface.register(name, function)
    if mask is not None:
        AttentionMaskInterface.register(name, mask)
    try:
        yield
    finally:
        del AttentionInterface._global_mapping[name]
        if mask is not None:
            del AttentionMaskInterface._global_mapping[name]


def with_attention(module: Any, name: str) -> Any:
    module.config._attn_implementation = name
    return module


@pytest.mark.parametrize("name", BUILD)
def test_outputs_and_weights_are_compared_while_the_model_runs(name: str) -> None:
    module = build(name)
    trace = attnviz.wrap(module).trace(inputs=inputs(name))
    for layer, f in zip(trace.layers, trace.fidelity(rows="recorded"), strict=True):
        assert f.passed
        assert f.rows == f.total_rows == 2 * layer.n_q
        if layer.source == "exact":
            assert f.weights_error is not None and f.weights_error <= f.weights_tolerance < 1e-3


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma2", "gpt_oss", "bert", "t5"])
def test_some_rows_of_a_long_text_are_compared_at_once_and_all_on_request(name: str) -> None:
    module = build(name)
    trace = attnviz.wrap(module).trace(inputs=inputs(name, n=LONG))
    for f in trace.fidelity(rows="recorded"):
        assert f.passed and f.weights_error is not None
        assert 32 <= f.rows < f.total_rows
    for f in trace.fidelity():
        assert f.passed and f.weights_error is not None
        assert f.rows == f.total_rows
    assert trace.fidelity(0, rows="recorded").rows == trace.fidelity(0).total_rows  # it stays known


def test_the_compared_rows_are_spread_over_the_text() -> None:
    assert sampled_rows(64) == [slice(0, 64)]
    rows = [i for part in sampled_rows(1000) for i in range(part.start, part.stop)]
    assert rows[0] == 0 and rows[-1] == 999
    assert max(b - a for a, b in pairwise(rows)) < 340


def wrong_later(module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **options: Any):  # type: ignore[no-untyped-def]
    """Causal by name, but it attends to all keys."""
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, scale=options.get("scaling")
    )
    return out.transpose(1, 2).contiguous(), None


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12])
def test_tiny_values_hide_no_wrong_weights(scale: float) -> None:
    """With values of 1e-6 any map gives the right output to within 1e-5."""
    with registered("test_later", wrong_later):
        module = with_attention(build("gpt2"), "test_later")
        with torch.no_grad():
            for block in module.transformer.h:
                block.attn.c_attn.weight[:, 64:] *= scale
                block.attn.c_attn.bias[64:] *= scale
        trace = attnviz.wrap(module).trace(inputs=inputs("gpt2"))
        # it can be read, since the function attends to all keys; a causal map would be wrong
        for layer in trace.layers:
            if layer.source != "refused":
                assert trace.attention(layer.index, 0).weights()[0, -1] > 0


def test_equal_values_hide_no_wrong_weights() -> None:
    """Where all values are equal any map gives the right output; only the weights differ."""
    q, k = torch.randn(2, 1, 2, 8, 4).unbind()
    v = torch.ones(1, 2, 8, 4)
    uniform = QKVRecord(torch.zeros_like(q), k, v, ScoreModifiers(1.0))
    own = v.transpose(1, 2)
    rounding = Rounding.of(torch.float32)
    same = compare(uniform, own, sampled_rows(8), rounding)
    assert same.passed  # so the outputs prove nothing

    with registered("test_uniform_values", wrong_later):
        module = with_attention(build("gpt2"), "test_uniform_values")
        with torch.no_grad():
            for block in module.transformer.h:
                block.attn.c_attn.weight[:, 64:] = 0
                block.attn.c_attn.bias[64:] = 1
        trace = attnviz.wrap(module).trace(inputs=inputs("gpt2", n=LONG))
        for layer in trace.layers:
            assert layer.source == "refused" or trace.attention(layer.index, 0).weights()[0, -1] > 0


def test_a_row_is_compared_at_its_own_scale() -> None:
    """An error of 1e-4 in a head of 1e-3 is wrong, beside a head of 100 too."""
    torch.manual_seed(0)
    q, k = torch.randn(1, 2, 8, 4), torch.randn(1, 2, 8, 4)
    v = torch.randn(1, 2, 8, 4) * torch.tensor([100.0, 1e-3]).view(1, 2, 1, 1)
    layer = QKVRecord(q, k, v, ScoreModifiers(0.5))
    own = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.5).transpose(1, 2)
    rounding = Rounding.of(torch.float32)
    assert compare(layer, own, sampled_rows(8), rounding).passed
    off = own.clone()
    off[0, 3, 1, 2] += 1e-4
    check = compare(layer, off, sampled_rows(8), rounding)
    assert not check.passed
    assert check.error == pytest.approx(1e-4, rel=0.01) and check.tolerance < 1e-7


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_never_passes(value: float) -> None:
    layer = QKVRecord(*torch.randn(3, 1, 2, 8, 4).unbind(), ScoreModifiers(0.5))
    own = torch.randn(1, 8, 2, 4)
    own[0, 2, 1, 0] = value
    check = compare(layer, own, sampled_rows(8), Rounding.of(torch.float32))
    assert not check.passed
    good = Check(0.0, 1.0, 8, True)
    assert not (check & good).passed and not (good & check).passed
    nan = Check(math.nan, 0.0, 1, False)
    assert math.isnan((nan & good).error) and math.isnan((good & nan).error)
    assert not receipt(0, "exact", layer, Checks(check, good)).passed
    assert not receipt(0, "exact", layer, Checks(good, check)).passed


def test_unchecked_layers_do_not_pass() -> None:
    layer = QKVRecord(*torch.randn(3, 1, 2, 8, 4).unbind(), ScoreModifiers(0.5))
    good = Check(0.0, 1.0, 8, True)
    assert not receipt(0, "exact", layer, Checks(None, None)).passed
    assert not receipt(0, "exact", layer, Checks(good, None)).passed
    assert receipt(0, "exact", layer, Checks(good, good)).passed


# --- masks of other kinds -----------------------------------------------------------------------


def flash_like(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    scaling: float | None = None, sliding_window: int | None = None, is_causal: bool | None = None,
    **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Flash attention's conventions, in plain torch: queries count from the last key, a window is
    an option, padding is (B, n_k), and padded rows are zero."""
    n_q, n_k = query.shape[2], key.shape[2]
    i, j = torch.arange(n_q)[:, None] + n_k - n_q, torch.arange(n_k)[None]
    causal = module.is_causal if is_causal is None else is_causal
    seen = (j <= i) if causal else torch.ones(n_q, n_k, dtype=torch.bool)
    if sliding_window is not None and n_k > sliding_window:
        seen = seen & (j > i - sliding_window)
        if not causal:
            seen = seen & (j < i + sliding_window)
    seen = seen[None, None]
    if attention_mask is not None:
        seen = seen & attention_mask.bool()[:, None, None, :]
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    s = (query @ key.transpose(2, 3) * scaling).masked_fill(~seen, -torch.inf)
    out = (torch.softmax(s, -1).nan_to_num(0.0) @ value).transpose(1, 2)
    if attention_mask is not None:
        out = out * attention_mask[:, -n_q:, None, None]
    return out.contiguous(), None


flash_mask = ALL_MASK_ATTENTION_FUNCTIONS["flash_attention_2"]


@pytest.mark.parametrize("name", ["llama", "mistral"])
@pytest.mark.parametrize("n", [12, LONG])
@pytest.mark.parametrize("padding", [None, "left", "right", "middle"])
def test_flash_attentions_window_and_padding_are_read(
    name: str, n: int, padding: str | None
) -> None:
    given = inputs(name, n=n)
    if padding:
        mask = torch.ones(2, n, dtype=torch.long)
        where = {"left": slice(0, 3), "right": slice(n - 3, n), "middle": slice(5, 8)}[padding]
        mask[1, where] = 0
        given["attention_mask"] = mask
    with registered("flash_attention_test", flash_like, flash_mask):
        module = with_attention(build(name), "flash_attention_test")
        trace = attnviz.wrap(module).trace(inputs=given)
        assert {x.source for x in trace.layers} == {"exact"}
        assert all(f.passed and f.rows == f.total_rows for f in trace.fidelity())
    window = 4 if name == "mistral" else n
    w = trace.attention(0, 1, item=1).weights()
    i, j = torch.arange(n)[:, None], torch.arange(n)
    hidden = (j > i) | (j <= i - window)
    if padding:
        hidden = hidden | (mask[1] == 0) | (mask[1] == 0)[:, None]
    assert torch.equal(w[hidden], torch.zeros(int(hidden.sum())))
    assert (w[~hidden] > 0).all()


def test_a_window_that_a_function_adds_silently_is_detected() -> None:
    """Under a neutral name, without a mask: only the function has the window."""
    with registered("test_own_window", flash_like, flash_mask):
        module = with_attention(build("mistral"), "test_own_window")
        trace = attnviz.wrap(module).trace(inputs=inputs("mistral", n=LONG))
        for layer in trace.layers:
            assert layer.source == "exact"
            assert float(trace.attention(layer.index, 0).weights()[100, :96].abs().max()) == 0.0
        assert all(f.passed for f in trace.fidelity())


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "bert"])
def test_flex_attention_is_exact(name: str) -> None:
    """Its mask is a BlockMask, a function of positions."""
    given = inputs(name, n=140)  # more than one of its blocks
    mask = torch.ones(2, 140, dtype=torch.long)
    mask[1, 130:] = 0
    given["attention_mask"] = mask
    with torch.compiler.set_stance("force_eager"):  # the same arithmetic without a C++ compiler
        module = build(name)
        module.set_attn_implementation("flex_attention")
        trace = attnviz.wrap(module).trace(inputs=given)
        assert {x.source for x in trace.layers} == {"exact"}
        assert all(f.passed and f.rows == f.total_rows for f in trace.fidelity())
    module = build(name)
    module.set_attn_implementation("eager")
    with torch.no_grad():
        truth = module(**given, output_attentions=True).attentions
    for layer in trace.layers:
        for item, end in ((0, 140), (1, 130)):  # rows of padding have no meaning
            w = trace.attention(layer.index, 1, item=item).weights()
            torch.testing.assert_close(
                w[:end], truth[layer.index][item, 1, :end], rtol=0, atol=1e-5
            )


def test_flex_attention_with_tiny_values_is_exact() -> None:
    with torch.compiler.set_stance("force_eager"):
        module = build("llama")
        module.set_attn_implementation("flex_attention")
        with torch.no_grad():
            for block in module.model.layers:
                block.self_attn.v_proj.weight *= 1e-6
        trace = attnviz.wrap(module).trace(inputs=inputs("llama"))
    later = torch.ones(12, 12, dtype=torch.bool).triu(1)
    for layer in trace.layers:
        assert layer.source == "exact"
        assert not trace.attention(layer.index, 0).weights()[later].any()
    assert all(f.passed for f in trace.fidelity())


def test_a_mask_of_an_unknown_kind_is_refused() -> None:
    class Strange:
        pass

    def ignoring(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any):  # type: ignore[no-untyped-def]
        return sdpa_attention_forward(module, query, key, value, None, **options)

    def strange_mask(*_: Any, **__: Any) -> Strange:
        return Strange()

    with registered("test_strange", ignoring, strange_mask):
        module = with_attention(build("llama"), "test_strange")
        trace = attnviz.wrap(module).trace(inputs=inputs("llama"))
    assert {x.source for x in trace.layers} == {"refused"}
    assert "Strange" in trace.layers[0].reason


# --- a pass run again -------------------------------------------------------------------------


def test_a_trace_does_not_keep_its_model() -> None:
    module = build("llama")
    gone = weakref.ref(module)
    trace = attnviz.wrap(module).trace(inputs=inputs("llama", n=LONG))
    before = trace.attention(1, 2).weights()
    del module
    gc.collect()
    assert gone() is None
    assert torch.equal(trace.attention(1, 2).weights(), before)
    f = trace.fidelity(0)  # what was compared while the model existed
    assert f.passed and 32 <= f.rows < f.total_rows


def test_a_receipt_is_made_in_the_precision_of_the_trace() -> None:
    """Traced under autocast, checked outside of it."""
    model = attnviz.wrap(build("llama"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace = model.trace(inputs=inputs("llama", n=LONG))
    assert trace.attention(0, 0).q.dtype == torch.bfloat16
    assert all(f.passed and f.rows == f.total_rows for f in trace.fidelity())


@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "gemma2", "gptj"])
def test_under_autocast_a_probe_runs_as_the_model_does(name: str) -> None:
    """Queries that were rotated are float32 beside values of bfloat16: only autocast takes both."""
    model = attnviz.wrap(build(name))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        trace = model.trace(inputs=inputs(name))
        inside = [trace.attention(layer.index, 1).weights() for layer in trace.layers]
    assert all(f.passed for f in trace.fidelity(rows="recorded"))
    for layer, seen in zip(trace.layers, inside, strict=True):  # recording rounds nothing
        assert torch.equal(seen, trace.attention(layer.index, 1).weights())


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_a_given_cache_is_not_grown(kind: str) -> None:
    module = build("llama")
    cache = (
        DynamicCache() if kind == "dynamic" else StaticCache(config=module.config, max_cache_len=32)
    )
    text = tokens(1, 13)
    with torch.no_grad():
        module(input_ids=text[:, :8], past_key_values=cache, use_cache=True)
        plain = module(
            input_ids=text[:, 8:], past_key_values=copy.deepcopy(cache), use_cache=True
        ).logits
    given = {"input_ids": text[:, 8:], "past_key_values": cache, "use_cache": True}
    trace = attnviz.wrap(module).trace(inputs=given, keep=("qkv", "logits"))
    assert trace.logits is not None and torch.equal(trace.logits, plain[0])
    assert int(cache.get_seq_length()) == 8
    assert all(f.passed for f in trace.fidelity())
    assert int(cache.get_seq_length()) == 8
    before = trace.attention(0, 0).weights()
    cache.reset()
    assert torch.equal(trace.attention(0, 0).weights(), before)


def test_changing_the_input_later_changes_no_receipt() -> None:
    model = attnviz.wrap(build("llama"))
    given = inputs("llama", n=LONG)
    trace = model.trace(inputs=given)
    given["input_ids"].fill_(5)
    assert all(f.passed and f.rows == f.total_rows for f in trace.fidelity())


def test_a_receipt_can_be_stopped() -> None:
    model = attnviz.wrap(build("llama"))
    trace = model.trace(inputs=inputs("llama", n=LONG))
    calls: list[int] = []

    def should_continue() -> bool:
        calls.append(1)
        return len(calls) < 3  # called before and after a layer: one layer, no more

    first, second = trace.fidelity(should_continue=should_continue)
    assert first.rows == first.total_rows
    assert second.passed and second.rows < second.total_rows
    assert trace.fidelity(1).rows == second.total_rows  # and it can be completed later


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_in_training_mode_a_trace_uses_no_random_numbers(name: str) -> None:
    """Dropout uses the process's random state, which a trace must not change."""
    module = build(name)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.1
    module.train()
    given = inputs(name)
    torch.manual_seed(3)
    with torch.no_grad():
        plain = module(**given).logits
    after = torch.random.get_rng_state()
    torch.manual_seed(3)
    trace = attnviz.wrap(module).trace(inputs=given, keep=("qkv", "logits"))
    assert trace.logits is not None and torch.equal(trace.logits, plain[0])
    assert torch.equal(torch.random.get_rng_state(), after)


def test_sinks_are_kept_as_they_were() -> None:
    """They are a parameter of the model, which may be trained later."""
    module = build("gpt_oss")
    trace = attnviz.wrap(module).trace(inputs=inputs("gpt_oss"))
    before = trace.attention(0, 1).weights().clone()
    with torch.no_grad():
        module.model.layers[0].self_attn.sinks += 3.0
    assert torch.equal(trace.attention(0, 1).weights(), before)


def test_an_edited_layer_is_checked_without_its_edits() -> None:
    model = attnviz.wrap(build("llama"))
    edits = [Temperature(layer=0, head=1, temperature=3.0)]
    trace = model.trace(inputs=inputs("llama", n=LONG), edits=edits)
    assert all(f.passed and f.rows == f.total_rows for f in trace.fidelity())


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma2", "bloom"])
def test_float64_agrees_to_its_own_rounding(name: str) -> None:
    trace = attnviz.wrap(build(name).double()).trace(inputs=inputs(name))
    for layer, f in zip(trace.layers, trace.fidelity(), strict=True):
        assert f.passed
        if layer.source == "exact":
            assert f.error < 1e-5


def test_half_precision_is_checked_by_its_own_rounding() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        trace = attnviz.wrap(build("llama").to(dtype)).trace(inputs=inputs("llama"))
        assert {x.source for x in trace.layers} == {"exact"}
        assert all(f.passed for f in trace.fidelity())
