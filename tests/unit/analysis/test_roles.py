"""Roles follow from metrics by the stated rules, and real heads get their names."""

from __future__ import annotations

import pytest
import torch

import attnviz
from attnviz.analysis.heads import HeadMetrics, baselines, head_metrics
from attnviz.analysis.metrics import METRICS
from attnviz.analysis.roles import LEAST, TIMES, describe, most_structured, named_roles
from attnviz.edits import SetPattern
from attnviz.trace import Trace
from tests.unit.trace.models import build

N = 32


def with_pattern(w: torch.Tensor, ids: torch.Tensor) -> tuple[HeadMetrics, HeadMetrics]:
    """The metrics of these weights, measured in a trace, and those of uniform attention."""
    model = attnviz.wrap(build("gpt2"))
    traced = model.trace(inputs={"input_ids": ids}, edits=[SetPattern(0, 0, w)])
    plain = model.trace(inputs={"input_ids": ids})
    return head_metrics(traced)[0], baselines(plain, 0)[0]


def causal(strength: torch.Tensor) -> torch.Tensor:
    """Weights of these scores under a causal mask."""
    return strength.masked_fill(torch.ones(N, N).triu(1).bool(), -torch.inf).softmax(dim=-1)


DIFFERENT = torch.arange(1, N + 1)[None] % 40
REPEATED = torch.cat([torch.arange(1, N // 2 + 1)] * 2)[None]
ROWS = torch.arange(N)
SINK = causal(torch.zeros(N, N).index_fill(1, torch.tensor([0]), 6.0))
PREVIOUS = causal(9.0 * (ROWS[:, None] - 1 == ROWS))
ITSELF = causal(9.0 * torch.eye(N))
INDUCTION = causal(9.0 * (ROWS[:, None] - N // 2 + 1 == ROWS))


@pytest.mark.parametrize(
    ("name", "w", "ids"),
    [
        ("attention sink", SINK, DIFFERENT),
        ("previous-token head", PREVIOUS, DIFFERENT),
        ("current-token head", ITSELF, DIFFERENT),
        ("induction head", INDUCTION, REPEATED),
    ],
)
def test_a_pattern_gets_its_name_and_its_numbers(
    name: str, w: torch.Tensor, ids: torch.Tensor
) -> None:
    metrics, baseline = with_pattern(w, ids)
    found = describe(metrics, baseline)
    assert found.role is not None and found.role.name == name
    value = metrics.values[found.role.metric]
    assert value is not None
    assert f"({value:.2f}; uniform" in found.sentence
    assert found.sentence.startswith("Mostly attends to")


def test_uniform_attention_has_no_role() -> None:
    metrics, baseline = with_pattern(causal(torch.zeros(N, N)), DIFFERENT)
    found = describe(metrics, baseline)
    assert found.role is None
    assert found.sentence.startswith("Attends almost evenly")


def test_a_short_text_names_nothing_by_accident() -> None:
    """Of three tokens each has a large share: the first gets 0.61 of uniform attention."""
    model = attnviz.wrap(build("gpt2"))
    trace = model.trace(inputs={"input_ids": torch.tensor([[3, 4, 5]])})
    for metrics, baseline in zip(head_metrics(trace), every_baseline(trace), strict=True):
        for role, evidence in named_roles(metrics, baseline):
            assert evidence.value >= max(LEAST, TIMES * evidence.baseline), role


def test_trained_induction_heads_are_named_and_found() -> None:
    """The shipped model was trained on repeated sequences, which only an induction head solves."""
    model = attnviz.load("tiny-induction")
    half = torch.randperm(20, generator=torch.Generator().manual_seed(1))[:16] + 2
    trace = model.trace(inputs={"input_ids": torch.cat([half, half])[None]})
    metrics, uniform = head_metrics(trace), every_baseline(trace)
    best = most_structured(metrics, uniform)
    assert best is not None
    names = {r.name for m, u in zip(metrics, uniform, strict=True) for r, _ in named_roles(m, u)}
    assert {"induction head", "previous-token head"} <= names
    assert named_roles(best, uniform[metrics.index(best)])[0][0].name in names


def test_every_role_reads_a_metric() -> None:
    from attnviz.analysis.roles import ROLES

    assert {role.metric for role in ROLES} <= METRICS.keys()


def every_baseline(trace: Trace) -> list[HeadMetrics]:
    return [found for layer in trace.layers for found in baselines(trace, layer.index)]
