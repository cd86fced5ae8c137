"""The same guarantees on a CUDA device: ``pytest -m gpu``."""

from __future__ import annotations

import pytest
import torch

import attnviz
from tests.unit.trace.models import BUILD, build, inputs, tokens

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", BUILD)
def test_weights_equal_the_eager_path_on_the_same_device(name: str) -> None:
    given = {k: v.cuda() for k, v in inputs(name).items()}
    module = build(name).cuda()
    with torch.no_grad():
        plain = module(**given).logits
    trace = attnviz.wrap(module).trace(inputs=given, keep=("qkv", "residual", "logits"))
    assert trace.logits is not None and torch.equal(trace.logits, plain[0])
    assert all(f.passed for f in trace.fidelity())
    on_cpu = attnviz.wrap(build(name)).trace(inputs=inputs(name))
    for mine, theirs in zip(trace.layers, on_cpu.layers, strict=True):
        assert mine.source == theirs.source
        there = on_cpu.attention(theirs.index, 1).weights()
        here = trace.attention(mine.index, 1).weights().cpu()
        # two devices sum in another order, in each layer
        torch.testing.assert_close(here, there, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_exact_within_its_rounding(dtype: torch.dtype) -> None:
    module = build("llama").to("cuda", dtype)
    trace = attnviz.wrap(module).trace(inputs={"input_ids": tokens(2, 200).cuda()})
    assert {x.source for x in trace.layers} == {"exact"}
    assert all(f.passed for f in trace.fidelity())


def test_generation_and_overview() -> None:
    module = build("mistral").cuda()
    module.generation_config.eos_token_id = None
    written = attnviz.wrap(module).generate(
        inputs={"input_ids": tokens(1, 5).cuda()}, max_new_tokens=7, temperature=1.0, seed=3
    )
    assert all(f.passed for f in written.trace.fidelity())
    a = written.trace.attention(0, 0)
    assert torch.equal(a.overview(12), a.weights())
