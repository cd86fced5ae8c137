"""Scores of heads on given keys, against sums written out."""

from __future__ import annotations

import pytest

from attnviz.analysis.head_scores import target_scores
from attnviz.analysis.heads import baselines, layer_metrics
from attnviz.train.tasks.targets import Probed, induction
from tests.browser.apps.canvas_app import trace_of

TRACE = trace_of("decoder", 14)
KEYS = tuple(frozenset(j for j in range(i) if (i * j) % 3 == 1) for i in range(14))


@pytest.mark.parametrize("layer", [0, 1])
def test_a_score_is_the_mean_weight_on_the_keys_of_the_rows_that_have_any(layer: int) -> None:
    found = target_scores(TRACE, layer, KEYS)
    assert found is not None
    scores, uniform = found
    assert len(scores) == TRACE.layers[layer].n_heads
    rows = [i for i, keys in enumerate(KEYS) if keys]
    for head, score in enumerate(scores):
        w = TRACE.attention(layer, head).weights()
        expected = sum(float(w[i, j]) for i in rows for j in KEYS[i]) / len(rows)
        assert score == pytest.approx(expected, abs=1e-6)
    # causal: query i sees i + 1 keys
    expected = sum(len(KEYS[i]) / (i + 1) for i in rows) / len(rows)
    assert uniform == pytest.approx(expected, abs=1e-12)


def test_a_masked_key_is_no_part_of_uniform_attention() -> None:
    future = tuple(frozenset({13}) if i == 5 else frozenset() for i in range(14))
    found = target_scores(TRACE, 0, future)
    assert found is not None
    assert found[0].max() == 0
    assert found[1] == 0


def test_the_induction_target_gives_the_induction_metric() -> None:
    trace = trace_of("decoder", 90)
    tokens = [token.text for token in trace.tokens]
    found = target_scores(trace, 1, induction(Probed(tokens, tokens)))
    metrics, even = layer_metrics(trace, 1), baselines(trace, 1)
    assert metrics[0].values["induction"] is not None  # some token is repeated
    assert found is not None
    assert found[0] == pytest.approx([m.values["induction"] for m in metrics], abs=1e-6)
    assert found[1] == pytest.approx(even[0].values["induction"], abs=1e-6)


def test_without_a_target_there_is_no_score() -> None:
    assert target_scores(TRACE, 0, [frozenset()] * 14) is None


@pytest.mark.parametrize("keys", [[frozenset()] * 13, [frozenset({14})] * 14])
def test_targets_of_another_shape_are_an_error(keys: list[frozenset[int]]) -> None:
    with pytest.raises(ValueError, match="14 queries"):
        target_scores(TRACE, 0, keys)
