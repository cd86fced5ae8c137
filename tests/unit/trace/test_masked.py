"""Masked cells are detected for any fill, and weights stay what the model computed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import attnviz
from attnviz.analysis import heads, matrices, overviews
from attnviz.canvas import map_payload
from attnviz.trace import Trace
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.pooling import masked_squares
from attnviz.trace.records import QKVRecord, WeightsRecord
from attnviz.trace.term_detection import (
    cached_per_tensor,
    mask_term,
    masked_from,
    relative_or_dense,
)
from attnviz.trace.terms import IntervalMask, causal
from tests.unit.trace.models import N, build, inputs, tokens

LOWEST = torch.finfo(torch.float32).min
FILLS = [-math.inf, LOWEST, -1e9, -65504.0, -1e4, -100.0]


def visible(pad: int = 0) -> torch.Tensor:
    """(N, N) causal; the first ``pad`` keys are visible to their own queries only."""
    i = torch.arange(N)
    return (i[None] <= i[:, None]) & ((i[None] >= pad) | (i[:, None] == i[None]))


def traced(fill: float, allowed: torch.Tensor, dtype: torch.dtype = torch.float32) -> Trace:
    """Bidirectional attention under a given float mask."""
    mask = torch.zeros(N, N, dtype=dtype).masked_fill(~allowed, fill)[None, None]
    module = build("bert").to(dtype)
    return attnviz.wrap(module).trace(
        inputs={"input_ids": tokens(1, N), "attention_mask": mask}, keep=("qkv", "output")
    )


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("pad", [0, 3])
def test_masked_keys_are_detected_for_any_fill(fill: float, pad: int) -> None:
    allowed = visible(pad)
    trace = traced(fill, allowed)
    a = trace.attention(1, 2)
    scores = a.q.double() @ a.k.double().T * a.scaling
    truth = torch.softmax(scores + torch.zeros(N, N).double().masked_fill(~allowed, fill), -1)
    torch.testing.assert_close(a.weights().double(), truth, rtol=0, atol=1e-5)
    assert torch.equal(torch.isneginf(a.scores()), ~allowed)
    assert torch.equal(a.masked(), ~allowed)
    torch.testing.assert_close(a.scores()[allowed].double(), scores[allowed], rtol=1e-5, atol=1e-4)
    seen = heads.token_metrics(trace, 1, 2).n_visible
    assert torch.equal(seen, allowed.sum(0).double())
    table = matrices.attention(trace, 1, 2, "scores")
    assert np.array_equal(table.masked, ~allowed.numpy())
    assert np.array_equal(matrices.attention(trace, 1, 2).masked, ~allowed.numpy())
    assert torch.equal(
        torch.isneginf(overviews.pooled_map(trace, 1, 2, "scores", size=N).cells), ~allowed
    )
    sheet = map_payload(trace, 1, 2, quantity="scores").base
    assert np.array_equal(np.isnan(sheet.codec.decode(sheet.codes)), ~allowed.numpy())


@pytest.mark.parametrize("fill", [-math.inf, -100.0])
@pytest.mark.parametrize("pad", [0, 3])
def test_a_square_is_masked_if_all_of_its_cells_are(fill: float, pad: int) -> None:
    """However masks are kept: as ranges of keys, cell by cell, or only by a module's scores."""
    allowed = visible(pad)
    dense = traced(fill, allowed).layer_record(1, 0)
    ranges = traced(fill, visible(0)).layer_record(1, 0)
    own = dense.scores(0, slice(0, 4), slice(0, N), slice(0, N))[None]
    module = WeightsRecord(torch.softmax(own, -1), raw_scores=own)
    causal_only = visible(0)
    for record, seen in ((dense, allowed), (ranges, causal_only), (module, allowed)):
        for side in (1, 2, 3):
            rows, cols = slice(0, N), slice(side, N - 1)
            got = masked_squares(record, slice(1, 3), rows, cols, side)
            part = seen[rows, cols]
            for i, j in np.ndindex(*got.shape[1:]):
                square = part[i * side : (i + 1) * side, j * side : (j + 1) * side]
                assert (got[:, i, j] == (not square.any())).all(), (side, i, j)


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma2"])
@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_half_precision_eager_is_exact_and_its_masks_are_detected(name: str, padding: str) -> None:
    """float16's lowest number, -65504, doesn't erase a score, so rows of padding depend on it.

    The weights are the eager path's own, also in rows without a visible key.
    """
    module = build(name).half()
    module.set_attn_implementation("eager")
    given = inputs(name)
    real = torch.ones(2, N, dtype=torch.bool)
    if padding != "none":
        real[1, slice(0, 5) if padding == "left" else slice(N - 5, N)] = False
        given["attention_mask"] = real.long()
    trace = attnviz.wrap(module).trace(inputs=given)
    assert {x.source for x in trace.layers} == {"exact"}
    with torch.no_grad():
        truth = module(**given, output_attentions=True).attentions
    i = torch.arange(N)
    for layer in trace.layers:
        windowed = name == "mistral" or (name == "gemma2" and layer.index == 0)
        near = i[None] > i[:, None] - (4 if windowed else N)
        allowed = (i[None] <= i[:, None]) & near & real[1]
        for head in range(4):
            a = trace.attention(layer.index, head, item=1)
            w = truth[layer.index][1, head].float()
            # scores of up to 40 in steps of 1/32: a weight is known to 3% of itself
            torch.testing.assert_close(a.weights(), w, rtol=0.04, atol=2e-3)
            assert torch.equal(torch.isneginf(a.scores()), ~allowed)
        seen = heads.token_metrics(trace, layer.index, 0, item=1).n_visible
        assert torch.equal(seen, allowed.sum(0).double())


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_oss"])
def test_eager_attention_in_float64_is_exact(name: str) -> None:
    """Its softmax is in float32: the weights are 1e-6 from the eager path's own, not 1e-12."""
    module = build(name).double()
    module.set_attn_implementation("eager")
    if name == "gpt_oss":
        module.set_experts_implementation("eager")
    given = inputs(name)
    trace = attnviz.wrap(module).trace(inputs=given)
    assert {x.source for x in trace.layers} == {"exact"}
    with torch.no_grad():
        truth = module(**given, output_attentions=True).attentions
    for layer in range(2):
        for head in range(4):
            mine = trace.attention(layer, head).weights()
            torch.testing.assert_close(mine, truth[layer][0, head].double(), rtol=0, atol=5e-6)


def test_a_weak_fill_below_large_scores_keeps_its_weight() -> None:
    """-100 beside a score of 130: the key has all of the weight, so it is not masked."""
    k = torch.zeros(1, 1, 4, 2)
    k[0, 0, 3] = torch.tensor([130.0, 0.0])
    q = torch.zeros(1, 1, 4, 2)
    q[0, 0, 1:] = torch.tensor([1.0, 0.0])
    hides = torch.zeros(1, 1, 4, 4)
    hides[..., 2:] = -100.0
    term = mask_term(hides)
    assert isinstance(term, IntervalMask)
    a = AttentionMap(QKVRecord(q, k, torch.ones(1, 1, 4, 2), ScoreModifiers(1.0, terms=(term,))), 0)
    assert torch.equal(a.masked()[0], torch.tensor([False, False, True, True]))
    for row in (1, 2, 3):
        assert torch.equal(a.masked()[row], torch.tensor([False, False, True, False]))
        assert float(a.scores()[row, 3]) == 30.0 and float(a.weights()[row, 3]) > 0.99


@pytest.mark.parametrize("fill", FILLS)
def test_no_key_with_weight_is_skipped(fill: float) -> None:
    """Skipped keys have weight 0, also in rows without a visible key and under two masks."""
    g = torch.Generator().manual_seed(0)
    # integers, so that scores are exact and a fill rounds them the same everywhere
    q, k, v = (torch.randint(-8, 9, (1, 1, N, 4), generator=g).float() for _ in range(3))
    keys = torch.arange(N)
    first, second = (keys < 5).expand(N, N).clone(), (keys >= 5).expand(N, N).clone()
    first[6:], second[6:] = True, True
    masks = [torch.zeros(1, 1, N, N).masked_fill(~m, fill) for m in (first, second)]
    terms = tuple(mask_term(m) for m in masks)
    p = QKVRecord(q, k, v, ScoreModifiers(0.5, terms=terms))  # type: ignore[arg-type]
    scores = q @ k.mT * 0.5 + masks[0] + masks[1]
    whole = torch.softmax(scores.double(), -1)[0, 0].nan_to_num(0.0)
    for rows in (slice(0, 6), slice(2, 9), slice(6, N), slice(0, 1)):
        lo, hi = p.key_range(0, rows)
        outside = whole[rows].clone()
        outside[:, lo:hi] = 0
        assert not outside.float().any()
        mine = AttentionMap(p, 0).weights(rows)
        torch.testing.assert_close(mine.double(), whole[rows], rtol=1e-4, atol=1e-6)


def alibi(dtype: torch.dtype, n: int = 32) -> torch.Tensor:
    """(1, 4, n, n) as in Falcon: a slope per head times the distance."""
    i = torch.arange(n)
    slopes = torch.tensor([0.8, 0.2, 0.05, 0.01])[:, None, None]
    return (-(slopes * (i[:, None] - i[None]).abs())).to(dtype)[None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fill", ["lowest", -1e9, -1e4])
def test_a_mask_is_detected_under_alibi(dtype: torch.dtype, fill: float | str) -> None:
    bias = alibi(dtype)
    hidden = torch.ones(32, 32, dtype=torch.bool).triu(1)
    hidden[:, 7] = True  # and not a function of distance
    low = torch.finfo(dtype).min if fill == "lowest" else max(float(fill), torch.finfo(dtype).min)
    total = bias + torch.zeros(32, 32, dtype=dtype).masked_fill(hidden, low)  # sums may be -inf
    term = relative_or_dense(total)
    found = term.masks(0, slice(0, 4), slice(0, 32), slice(0, 32))
    assert found is not None and torch.equal(found, hidden.expand(4, -1, -1))


def test_alibi_alone_masks_nothing_at_any_length() -> None:
    by_distance = -0.84 * torch.arange(3000.0).flip(0)[None, None]
    assert masked_from(by_distance) is None
    assert masked_from(alibi(torch.float32, 200)) is None
    assert masked_from(torch.randn(1, 1, 40, 40) * 30) is None


def test_a_mask_added_twice_is_one_mask() -> None:
    twice = torch.zeros(1, 1, N, N).masked_fill(torch.ones(N, N, dtype=torch.bool).triu(1), LOWEST)
    padding = torch.zeros(1, 1, 1, N)
    padding[..., -3:] = LOWEST
    twice = twice + padding  # finfo.min + finfo.min is -inf
    assert torch.isneginf(twice).any()
    term = mask_term(twice)
    assert isinstance(term, IntervalMask)  # every row has a visible key: O(n) is enough
    assert torch.equal(term.masks(0, slice(0, 1), slice(0, N), slice(0, N))[0], ~(twice[0, 0] == 0))
    blind = twice.clone()
    blind[..., 2, :] = LOWEST
    blind[..., 2, 4:] = -math.inf  # this row attends uniformly to its first four keys
    p = QKVRecord(
        *(torch.randn(1, 1, N, 4) for _ in range(3)),
        ScoreModifiers(1.0, terms=(mask_term(blind),)),  # type: ignore[arg-type]
    )
    expected = torch.tensor([0.25] * 4 + [0.0] * (N - 4))
    torch.testing.assert_close(AttentionMap(p, 0).weights()[2], expected)
    assert bool(AttentionMap(p, 0).masked()[2].all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_masks_of_a_dense_layer_are_read_from_its_scores(dtype: torch.dtype) -> None:
    raw_scores = (torch.randn(1, 2, N, N) * 3).to(dtype)
    hidden = torch.ones(N, N, dtype=torch.bool).triu(1)
    for fill in (torch.finfo(dtype).min, -1e4, -math.inf):
        scores = raw_scores + torch.zeros(N, N, dtype=dtype).masked_fill(hidden, fill)
        a = AttentionMap(WeightsRecord(scores.float().softmax(-1), scores), 1)
        assert torch.equal(torch.isneginf(a.scores()), hidden)
    # no score is a mask, however large
    sharp = AttentionMap(WeightsRecord((raw_scores * 20).float().softmax(-1), raw_scores * 20), 1)
    assert not torch.isneginf(sharp.scores()).any()


def test_dense_layers_of_a_model_in_half_precision() -> None:
    trace = attnviz.wrap(build("gptj").half()).trace(inputs=inputs("gptj"))
    assert {x.source for x in trace.layers} == {"dense"}
    later = torch.ones(N, N, dtype=torch.bool).triu(1)
    for layer in range(2):
        assert torch.equal(torch.isneginf(trace.attention(layer, 1).scores()), later)
        seen = heads.token_metrics(trace, layer, 1).n_visible
        assert torch.equal(seen, torch.arange(N, 0, -1).double())


@pytest.mark.parametrize("name", ["llama", "t5", "bert"])
def test_inference_mode(name: str) -> None:
    given = inputs(name)
    mask = torch.ones(2, N, dtype=torch.long)
    mask[1, -4:] = 0
    given["attention_mask"] = mask
    with torch.inference_mode():
        trace = attnviz.wrap(build(name)).trace(inputs=given)
        here = trace.attention(0, 0, item=1).weights().clone()
    plain = attnviz.wrap(build(name)).trace(inputs=given).attention(0, 0, item=1)
    torch.testing.assert_close(here, plain.weights(), rtol=0, atol=1e-6)


def test_a_tensor_that_changes_under_inference_mode_is_examined_again() -> None:
    with torch.inference_mode():
        cached = cached_per_tensor(mask_term)
        mask = torch.ones(1, 1, 4, 4, dtype=torch.bool).tril()
        first = cached(mask)
        assert cached(mask) is first
        mask[..., 0] = False
        changed = cached(mask)
        assert changed is not None and not torch.equal(
            changed.masks(0, slice(0, 1), slice(0, 4), slice(0, 4)),
            first.masks(0, slice(0, 1), slice(0, 4), slice(0, 4)),
        )


def test_a_term_is_rebuilt_from_its_parts() -> None:
    bias = relative_or_dense(alibi(torch.float32))
    for term in (causal(5), bias, mask_term(torch.rand(1, 2, 5, 5) > 0.5)):
        again = type(term).forms[term.form](**term.parts())
        a, b = torch.zeros(2, 5, 5), torch.zeros(2, 5, 5)
        everything = (0, slice(0, 2), slice(0, 5), slice(0, 5))
        term.add_to(a, *everything)
        again.add_to(b, *everything)
        assert torch.equal(a, b) and again.nbytes == term.nbytes > 0
