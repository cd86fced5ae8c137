"""The token strip's numbers, decoded again, against direct sums over the weights in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import attnviz
from attnviz.analysis.heads import token_metrics
from attnviz.canvas import TokenRef, strip_payload, wire
from attnviz.canvas.codecs import MASKED, SignificantDigits, codec_of
from attnviz.edits import BlockEdge, SetPattern
from attnviz.errors import AttnVizError
from tests.browser.apps.canvas_app import trace_of
from tests.unit.trace import models

N = 40


@pytest.fixture(scope="module")
def trace():
    return trace_of("decoder", N)


@pytest.fixture(scope="module")
def both():
    return trace_of("encoder-decoder", 12)


def small(name, **more):
    model = attnviz.wrap(models.build(name))
    return model.trace(None, inputs=models.inputs(name, B=1), **more)


def truth(trace, layer, head):
    """Weights, and which of them were allowed."""
    a = trace.attention(layer, head)
    return a.weights().double().numpy(), np.isfinite(a.scores().numpy())


def bits(w):
    return -(w * np.log2(np.where(w > 0, w, 1))).sum(axis=1)


def close(codes, numbers):
    """Codes decode to the numbers as they are shown."""
    assert (codes != MASKED).all()
    assert np.allclose(SignificantDigits().decode(codes), numbers, rtol=5.01e-4, atol=1e-7)


def check(payload, trace, layer, head, keys=slice(None), queries=slice(None), own=True):
    w, allowed = truth(trace, layer, head)
    header, arrays = wire.unpack(payload.encode(height=200))
    assert (header["mode"], header["height"]) == ("strip", 200)
    close(arrays["received"][keys], w.sum(axis=0) / allowed.sum(axis=0))
    if own:
        close(arrays["sent"][queries], (w * (1 - np.eye(len(w)))).sum(axis=1))
    shown = codec_of(header["bits"]).decode(arrays["entropy"][queries])
    assert np.allclose(shown, bits(w), atol=5.1e-4)  # it is sent in thousandths of a bit
    return w, allowed, header, arrays


@pytest.mark.parametrize("layer, head", [(0, 0), (1, 2)])
def test_numbers_of_a_decoder(trace, layer, head):
    payload = strip_payload(trace, layer, head, start=30)
    _, _, header, arrays = check(payload, trace, layer, head)
    (section,) = header["sections"]
    assert (section["side"], section["written"], section["queries"]) == ("row", 30, 0)
    assert section["names"][0] == "<img src=x onerror=alert(1)>" and len(section["names"]) == N
    assert header["focus"] is None and set(arrays) == {"received", "sent", "entropy"}
    assert "can attend" in header["helps"]["received"]


@pytest.mark.parametrize("index", [0, 7, N - 1])
def test_a_focused_token_has_a_row_and_a_column(trace, index):
    payload = strip_payload(trace, 1, 2, focus=TokenRef("row", index), measure="sent")
    w, allowed, header, arrays = check(payload, trace, 1, 2)
    assert (header["focus"], header["measure"]) == (["row", index], "sent")
    for codes, numbers, seen in (
        (arrays["from"], w[index], allowed[index]),
        (arrays["to"], w[:, index], allowed[:, index]),
    ):
        np.testing.assert_array_equal(codes == MASKED, ~seen)
        close(codes[seen], numbers[seen])
    as_key = strip_payload(trace, 1, 2, focus=TokenRef("col", index))
    assert as_key.focus == ("row", index)  # the same token


def test_cross_attention_tints_one_text_by_the_other(both):
    layer = next(x.index for x in both.layers if x.kind == "cross")
    n_k, n_q = len(both.tokens), len(both.target_tokens)
    keys, queries = slice(0, n_k), slice(n_k, None)
    payload = strip_payload(both, layer, 1, start=3)
    _, _, header, arrays = check(payload, both, layer, 1, keys, queries, own=False)
    assert [(s["title"], s["side"], s["written"]) for s in header["sections"]] == [
        ("Source", "col", None),
        ("Target", "row", 3),
    ]
    assert (arrays["sent"] == MASKED).all() and (arrays["received"][queries] == MASKED).all()
    w, _ = truth(both, layer, 1)
    assert w.shape == (n_q, n_k)
    given = strip_payload(both, layer, 1, focus=TokenRef("row", 2)).codes
    close(given["from"][keys], w[2])
    assert (given["from"][queries] == MASKED).all() and (given["to"] == MASKED).all()
    got = strip_payload(both, layer, 1, focus=TokenRef("col", 2)).codes
    close(got["to"][queries], w[:, 2])
    assert (got["to"][keys] == MASKED).all() and (got["from"] == MASKED).all()


@pytest.mark.parametrize("kind, place", [("encoder", 0), ("decoder", 1)])
def test_both_texts_are_sent_and_one_has_no_codes(both, kind, place):
    layer = next(x.index for x in both.layers if x.kind == kind)
    lengths = [len(both.tokens), len(both.target_tokens)]
    own = [slice(0, lengths[0]), slice(lengths[0], None)][place]
    payload = strip_payload(both, layer, 0, focus=TokenRef("row", 1), start=2)
    _, _, header, arrays = check(payload, both, layer, 0, own, own)
    sections = header["sections"]
    assert [len(s["names"]) for s in sections] == lengths
    assert sections[place]["side"] == "row" and sections[1 - place]["side"] is None
    assert [s["written"] for s in sections] == [None, 2]  # the model writes the target
    other = [slice(lengths[0], None), slice(0, lengths[0])][place]
    assert all((codes[other] == MASKED).all() for codes in arrays.values())


def test_a_sink_takes_a_share_of_sent():
    trace = small("gpt_oss")
    for layer in range(2):
        w, _, _, arrays = check(strip_payload(trace, layer, 1), trace, layer, 1)
        assert w.sum(axis=1).min() < 0.95
        others = SignificantDigits().decode(arrays["sent"])
        assert (others < 1 - np.diag(w) - 1e-3).any()


def test_queries_inside_a_window_are_counted():
    """With a sliding window a late key is seen by as many queries as an early one."""
    trace = small("mistral")
    check(strip_payload(trace, 0, 2), trace, 0, 2)
    seen = token_metrics(trace, 0, 2).n_visible
    assert seen is not None and seen.tolist() == [4] * (models.N - 3) + [3, 2, 1]


def test_a_layer_that_hides_its_mask_divides_by_all_queries():
    trace = small("bloom")
    found = token_metrics(trace, 0, 1)
    payload = strip_payload(trace, 0, 1, focus=TokenRef("row", 5))
    w = trace.attention(0, 1).weights().double().numpy()
    rows = len(w) if found.n_visible is None else found.n_visible.numpy()
    close(payload.codes["received"], w.sum(axis=0) / rows)
    assert ("all queries" in payload.helps["received"]) == (found.n_visible is None)


def test_edits_change_the_numbers(trace):
    blocked = small("gpt2", edits=(BlockEdge(0, 1, query=5, key=2),))
    payload = strip_payload(blocked, 0, 1, focus=TokenRef("row", 5))
    check(payload, blocked, 0, 1)
    assert payload.codes["from"][2] == MASKED
    even = np.full((models.N, models.N), 1 / models.N, np.float32)
    pattern = small("gpt2", edits=(SetPattern(0, 1, torch.from_numpy(even)),))
    shown = strip_payload(pattern, 0, 1, focus=TokenRef("row", 0))
    close(shown.codes["received"], np.full(models.N, 1 / models.N))
    close(shown.codes["from"], even[0])  # past what the mask would have allowed
    assert "all queries" in shown.helps["received"]


def test_queries_of_a_continued_text_are_its_last_tokens():
    model = attnviz.wrap(models.build("gpt2"))
    ids = models.tokens(1, 12)
    past = model.module(ids[:, :9], use_cache=True).past_key_values
    trace = model.trace(None, inputs={"input_ids": ids[:, 9:], "past_key_values": past})
    payload = strip_payload(trace, 0, 1, focus=TokenRef("row", 10))
    w = trace.attention(0, 1).weights().double().numpy()
    (section,) = payload.sections
    assert (len(section.names), section.queries) == (12, 9)
    assert (payload.codes["sent"][:9] == MASKED).all()
    close(payload.codes["sent"][9:], w.sum(axis=1) - w[np.arange(3), np.arange(9, 12)])
    close(payload.codes["from"][:11], w[1, :11])
    early = strip_payload(trace, 0, 1, focus=TokenRef("row", 4)).codes
    assert (early["from"] == MASKED).all()  # it is no query here
    close(early["to"][9:], w[:, 4])


def test_missing_layers_heads_and_tokens(trace, both):
    for wrong in (lambda: strip_payload(trace, 9, 0), lambda: strip_payload(trace, 0, 9)):
        with pytest.raises(AttnVizError):
            wrong()
    for gone in (TokenRef("row", N), TokenRef("col", N + 5)):  # of a text that was longer
        assert strip_payload(trace, 0, 0, focus=gone).focus is None
    ids = {strip_payload(trace, x, h).id for x in (0, 1) for h in (0, 1)}
    assert len(ids | {strip_payload(both, 0, 0).id}) == 5
