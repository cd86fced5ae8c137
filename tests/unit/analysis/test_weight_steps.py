"""The arithmetic of one cell against the recorded tensors in float64, for every score modifier."""

from __future__ import annotations

import math

import pytest
import torch

import attnviz
from attnviz.analysis.weight_steps import weight_steps
from attnviz.edits import SetPattern
from attnviz.errors import AttnVizError
from tests.unit.trace.models import build, inputs

# a causal mask; grouped keys; a softcap and a window; a sink; a learned bias
NAMES = ("gpt2", "llama", "gemma2", "gpt_oss", "t5")


@pytest.mark.parametrize("name", NAMES)
def test_every_step_leads_to_the_next_and_to_the_weight(name: str) -> None:
    trace = attnviz.wrap(build(name)).trace(inputs=inputs(name))
    layer = next(x for x in trace.layers if x.source != "refused")
    a = trace.attention(layer.index, 1)
    query = a.n_q - 1
    w = a.weights()[query]
    shares = 0.0
    for key in range(a.n_k):
        found = weight_steps(trace, layer.index, 1, query, key)
        assert found.dot == pytest.approx(float(a.q[query].double() @ a.k[key].double()), rel=1e-9)
        assert found.scaled == found.dot * found.scaling
        before = found.scaled
        if found.softcap is not None:
            before = found.softcap * math.tanh(found.scaled / found.softcap)
            assert found.capped == pytest.approx(before, rel=1e-9)
        # the trace's own scores are float32
        assert found.score == pytest.approx(before + found.added, rel=1e-6, abs=1e-6)
        assert found.weight == pytest.approx(float(w[key]), rel=1e-6, abs=1e-12)
        assert found.masked == (float(a.scores()[query, key]) == -math.inf)
        # float32 rounds scores of some units by 1e-6
        assert math.exp(found.score - found.highest) / found.total == pytest.approx(
            found.weight, rel=2e-5, abs=1e-7
        )
        shares += found.share or 0.0
    assert shares == pytest.approx(1.0, abs=1e-6)


def test_bias_and_sink_have_their_own_numbers() -> None:
    biased = attnviz.wrap(build("t5")).trace(inputs=inputs("t5"))
    assert weight_steps(biased, 0, 1, 5, 2).added != 0.0
    sunk = attnviz.wrap(build("gpt_oss")).trace(inputs=inputs("gpt_oss"))
    rows = [weight_steps(sunk, 0, 1, 5, key) for key in range(sunk.layers[0].n_k)]
    assert sum(row.weight for row in rows) < 1.0
    assert sum(math.exp(row.score - row.highest) for row in rows) < rows[0].total


def test_the_rank_counts_from_the_largest_weight() -> None:
    trace = attnviz.wrap(build("gpt2")).trace(inputs=inputs("gpt2"))
    w = trace.attention(0, 0).weights()[6]
    order = torch.argsort(w, descending=True).tolist()
    assert [weight_steps(trace, 0, 0, 6, key).rank for key in order[:7]] == list(range(1, 8))


def test_what_has_no_arithmetic_says_so() -> None:
    model = attnviz.wrap(build("gpt2"))
    ids = inputs("gpt2", B=1)
    trace = model.trace(inputs=ids)
    with pytest.raises(AttnVizError, match="no cell"):
        weight_steps(trace, 0, 0, 0, trace.layers[0].n_k)
    n = trace.layers[0].n_q
    edited = model.trace(inputs=ids, edits=[SetPattern(0, 0, torch.eye(n))])
    with pytest.raises(AttnVizError, match="set by an edit"):
        weight_steps(edited, 0, 0, 3, 3)
