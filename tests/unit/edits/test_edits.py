"""Interventions have their effect on the head they name, and the trace shows it."""

from __future__ import annotations

import pytest
import torch

import attnviz
from attnviz import AttnVizError
from attnviz.edits import AblateHead, BlockEdge, PatchHead, ScaleHead, SetPattern, Temperature
from attnviz.trace import Trace
from tests.unit.trace.models import N, build, inputs, tokens

LAYER, HEAD = 0, 1
MODEL = attnviz.wrap(build("llama"))
GIVEN = {"input_ids": tokens(1, N)}


def run(*edits: object) -> Trace:
    trace = MODEL.trace(inputs=GIVEN, edits=edits, keep=("qkv", "residual", "logits"))  # type: ignore[arg-type]
    assert all(f.passed for f in trace.fidelity())  # the map shows the edited layer
    return trace


def after_first_layer(output: torch.Tensor) -> torch.Tensor:
    """The input of layer 1 if layer 0's heads return ``output``, (n, H, d_v), computed by hand."""
    layer = MODEL.module.model.layers[0]
    x = MODEL.module.model.embed_tokens(GIVEN["input_ids"])
    with torch.no_grad():
        x = x + layer.self_attn.o_proj(output.reshape(1, N, -1))
        return (x + layer.mlp(layer.post_attention_layernorm(x)))[0]


def outputs(trace: Trace) -> torch.Tensor:
    return torch.stack([trace.attention(LAYER, h).output() for h in range(4)], dim=1)


PLAIN = run()
OUT = outputs(PLAIN)


def expect(trace: Trace, head_output: torch.Tensor) -> None:
    changed = OUT.clone()
    changed[:, HEAD] = head_output
    torch.testing.assert_close(outputs(trace), changed, rtol=0, atol=1e-5)
    torch.testing.assert_close(trace.residual(1), after_first_layer(changed), rtol=0, atol=1e-4)
    assert not torch.equal(trace.logits, PLAIN.logits)  # type: ignore[arg-type]


def test_ablating_by_zero() -> None:
    expect(run(AblateHead(LAYER, HEAD)), torch.zeros(N, 8))


def test_ablating_by_the_mean() -> None:
    expect(run(AblateHead(LAYER, HEAD, "mean")), OUT[:, HEAD].mean(0, keepdim=True).expand(N, -1))


def test_scaling() -> None:
    expect(run(ScaleHead(LAYER, HEAD, 2.5)), OUT[:, HEAD] * 2.5)


def test_blocking_an_edge_shares_its_weight_among_the_row() -> None:
    trace = run(BlockEdge(LAYER, HEAD, query=6, key=2))
    before, after = (t.attention(LAYER, HEAD) for t in (PLAIN, trace))
    expected = before.weights().clone()
    expected[6, 2] = 0
    expected[6] /= expected[6].sum()
    torch.testing.assert_close(after.weights(), expected)
    assert after.scores()[6, 2] == -torch.inf
    expect(trace, expected @ before.v)


def test_a_temperature() -> None:
    trace = run(Temperature(LAYER, HEAD, 0.5))
    a = PLAIN.attention(LAYER, HEAD)
    expected = torch.softmax(a.scores() / 0.5, -1)
    torch.testing.assert_close(trace.attention(LAYER, HEAD).weights(), expected)
    expect(trace, expected @ a.v)


def test_set_pattern() -> None:
    pattern = torch.eye(N)
    trace = run(SetPattern(LAYER, HEAD, pattern))
    assert torch.equal(trace.attention(LAYER, HEAD).weights(), pattern)
    expect(trace, PLAIN.attention(LAYER, HEAD).v)


def test_patching_in_the_output_of_another_text() -> None:
    other = MODEL.trace(inputs={"input_ids": tokens(1, N, seed=9)})
    patch = other.attention(LAYER, HEAD).output()
    expect(run(PatchHead(LAYER, HEAD, patch)), patch)


def test_edits_of_one_head_apply_in_order() -> None:
    expect(run(ScaleHead(LAYER, HEAD, 2.0), ScaleHead(LAYER, HEAD, 3.0)), OUT[:, HEAD] * 6)


def test_an_edit_without_effect_changes_no_head() -> None:
    trace = run(ScaleHead(LAYER, HEAD, 1.0))
    torch.testing.assert_close(trace.logits, PLAIN.logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "edit",
    [
        AblateHead(7, 0),
        AblateHead(0, 9),
        AblateHead(0, 0, "median"),  # type: ignore[arg-type]
        BlockEdge(0, 0, N, 0),
        Temperature(0, 0, 0.0),
        SetPattern(0, 0, torch.zeros(3, 3)),
        PatchHead(0, 0, torch.zeros(3, 8)),
        ScaleHead(0, 0, float("nan")),
        SetPattern(0, 0, torch.full((N, N), float("nan"))),
        PatchHead(0, 0, torch.full((N, 8), float("inf"))),
    ],
)
def test_an_impossible_edit_raises(edit: object) -> None:
    with pytest.raises(AttnVizError):
        run(edit)


def test_editing_a_layer_outside_the_interface_raises() -> None:
    with pytest.raises(AttnVizError, match="cannot be edited"):
        attnviz.wrap(build("bloom")).trace(inputs=inputs("bloom"), edits=[AblateHead(0, 0)])
