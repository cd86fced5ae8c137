"""Head metrics against their formulas on whole matrices, pooled maps against their maxima."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import attnviz
from attnviz.analysis import heads, layer_pass, overviews
from attnviz.errors import AttnVizError
from attnviz.trace import records

N = 37  # not a multiple of any side or block used below


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=20, n_layer=2, n_head=4, n_embd=32, n_positions=64)
    config.bos_token_id = config.eos_token_id = 0
    module = GPT2LMHeadModel(config).eval()
    for block in module.transformer.h:
        block.attn.c_attn.weight.data[:, :64] *= 8
    ids = torch.randint(0, 20, (1, N))
    return attnviz.wrap(module).trace(None, inputs={"input_ids": ids})


@pytest.fixture(scope="module")
def both():
    torch.manual_seed(1)
    config = T5Config(vocab_size=20, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    config.decoder_start_token_id = 0
    inputs = {
        "input_ids": torch.randint(1, 20, (1, 23)),
        "decoder_input_ids": torch.randint(1, 20, (1, 11)),
    }
    module = T5ForConditionalGeneration(config).eval()
    return attnviz.wrap(module).trace(None, inputs=inputs)


@pytest.fixture(autouse=True, params=[None, 150])
def cells(request, monkeypatch):
    """Everything in one block, and in blocks of a few rows."""
    if request.param:
        monkeypatch.setattr(records, "CELLS", request.param)
        monkeypatch.setattr(layer_pass, "TILE_CELLS", request.param)
        monkeypatch.setattr(layer_pass, "STRIP_ROWS", 3)


def whole(trace, metric):
    return trace.attention(metric.layer, metric.head).weights().double()


def bits(w):
    return -(w * torch.where(w > 0, w, 1.0).log2()).sum(dim=-1)


def test_every_metric_is_its_formula(decoder):
    found = heads.head_metrics(decoder)
    assert len(found) == 8
    ids = [token.id for token in decoder.tokens]
    at = torch.arange(N)
    for metric in found:
        w = whole(decoder, metric)
        assert metric.entropy == pytest.approx(float(bits(w).mean()), abs=1e-5)
        away = (at[:, None] - at).abs()
        assert metric.distance == pytest.approx(float((w * away).sum(1).mean()), abs=1e-4)
        assert metric.first == pytest.approx(float(w[:, 0].mean()), abs=1e-6)
        assert metric.itself == pytest.approx(float(w.diagonal().mean()), abs=1e-6)
        assert metric.previous == pytest.approx(float(w.diagonal(-1).mean()), abs=1e-6)
        assert metric.max_weight == pytest.approx(float(w.amax(1).mean()), abs=1e-6)
        rows = [
            sum(float(w[i, j + 1]) for j in range(i) if ids[j] == ids[i])
            for i in range(N)
            if ids[i] in ids[:i]
        ]
        assert metric.induction == pytest.approx(sum(rows) / len(rows), abs=1e-6)


def test_a_text_of_many_strips_is_measured_to_the_last_row(monkeypatch):
    """As above on a text of which a strip holds a few rows of one head, in float64."""
    monkeypatch.setattr(layer_pass, "TILE_CELLS", 1 << 12)
    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=50,
        num_hidden_layers=1,
        num_attention_heads=6,
        num_key_value_heads=2,
        hidden_size=48,
        intermediate_size=16,
    )
    module = LlamaForCausalLM(config).eval()
    module.model.layers[0].self_attn.q_proj.weight.data *= 30
    n = 301
    ids = torch.randint(0, 50, (1, n))
    trace = attnviz.wrap(module).trace(None, inputs={"input_ids": ids})
    ((_, thumbnails, found),) = heads.summarize_layers(trace, size=20)
    at = torch.arange(n)
    q = trace.layer_record(0).q[0].double()  # (H, n, d_head)
    k = trace.layer_record(0).k[0].double().repeat_interleave(3, dim=0)
    s = (q @ k.mT * 8**-0.5).masked_fill(at > at[:, None], -torch.inf)
    follows = (ids[0, :, None] == ids[0].roll(1)) & (at > 0) & (at <= at[:, None])
    repeated = [bool((ids[0, :i] == ids[0, i]).any()) for i in range(n)]
    for h, w in enumerate(s.softmax(dim=-1)):
        got = found[h]
        # sums of 301 rows of float32 weights: some 1e-7 of each value
        assert got.entropy == pytest.approx(float(bits(w).mean()), abs=1e-5)
        away = float((w * (at[:, None] - at).abs()).sum(1).mean())
        assert got.distance == pytest.approx(away, rel=1e-5)
        assert got.itself == pytest.approx(float(w.diagonal().mean()), abs=1e-6)
        assert got.previous == pytest.approx(float(w.diagonal(-1).mean()), abs=1e-6)
        assert got.max_weight == pytest.approx(float(w.amax(1).mean()), abs=1e-6)
        assert got.induction == pytest.approx(float((w * follows).sum()) / sum(repeated), abs=1e-6)
        padded = torch.nn.functional.pad(w, (0, -n % 16, 0, -n % 16))
        squares = padded.view(19, 16, 19, 16).amax(dim=(1, 3))
        torch.testing.assert_close(thumbnails[h].double(), squares, atol=1e-5, rtol=0)


def test_undefined_metrics_are_none(both):
    by_kind = {metric.kind: metric for metric in heads.head_metrics(both)}
    assert set(by_kind) == {"encoder", "decoder", "cross"}
    cross = by_kind["cross"]
    assert (cross.distance, cross.itself, cross.previous, cross.induction) == (None,) * 4
    assert cross.entropy == pytest.approx(float(bits(whole(both, cross)).mean()), abs=1e-5)
    w = whole(both, by_kind["encoder"])  # both directions count
    away = (torch.arange(23)[:, None] - torch.arange(23)).abs()
    assert by_kind["encoder"].distance == pytest.approx(float((w * away).sum(1).mean()), abs=1e-4)


def test_queries_of_a_continued_text_are_its_last_positions():
    """With fewer queries than keys, query i is the key i + n_k - n_q."""
    torch.manual_seed(2)
    config = GPT2Config(vocab_size=20, n_layer=1, n_head=2, n_embd=16, n_positions=64)
    config.bos_token_id = config.eos_token_id = 0
    module = GPT2LMHeadModel(config).eval()
    ids = torch.arange(12)[None] % 20
    past = module(ids[:, :9], use_cache=True).past_key_values
    trace = attnviz.wrap(module).trace(
        None, inputs={"input_ids": ids[:, 9:], "past_key_values": past}
    )
    metric = heads.head_metrics(trace)[0]
    w = whole(trace, metric)
    assert w.shape == (3, 12)
    assert metric.itself == pytest.approx(float(w.diagonal(9).mean()), abs=1e-6)
    assert metric.previous == pytest.approx(float(w.diagonal(8).mean()), abs=1e-6)


def test_extremes_of_entropy():
    torch.manual_seed(3)
    module = BertModel(
        BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).eval()
    attention = module.encoder.layer[0].attention.self
    attention.query.weight.data.zero_()
    attention.query.bias.data.zero_()
    ids = torch.arange(16)[None] % 20
    metric = heads.head_metrics(attnviz.wrap(module).trace(None, inputs={"input_ids": ids}))[0]
    assert metric.entropy == pytest.approx(math.log2(16), abs=1e-5)
    assert metric.max_weight == pytest.approx(1 / 16, abs=1e-6)
    assert metric.induction is None  # no token comes twice


def test_token_metrics_are_sums_of_weights(decoder):
    w = decoder.attention(1, 2).weights().double()
    found = heads.token_metrics(decoder, 1, 2)
    torch.testing.assert_close(found.received, w.sum(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.entropy, bits(w), atol=1e-5, rtol=0)
    assert found.sent is not None and found.n_visible is not None
    torch.testing.assert_close(found.sent, w.tril(-1).sum(1), atol=1e-6, rtol=0)
    assert found.n_visible.tolist() == list(range(N, 0, -1))  # every later token may look
    mean = torch.stack([decoder.attention(1, h).weights().double() for h in range(4)])
    layer = heads.token_metrics(decoder, 1)
    torch.testing.assert_close(layer.received, mean.sum(1).mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer.entropy, bits(mean).mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer.sent, mean.tril(-1).sum(2).mean(0), atol=1e-6, rtol=0)


def test_queries_of_cross_attention_have_no_position_among_the_keys(both):
    layer = next(x.index for x in both.layers if x.kind == "cross")
    found = heads.token_metrics(both, layer, 1)
    assert found.sent is None and found.n_visible is not None
    assert found.n_visible.tolist() == [11] * 23


@pytest.mark.parametrize("size", [1, 5, 12, 64])
def test_thumbnails_are_the_overviews_of_every_head(decoder, both, size):
    for trace in (decoder, both):
        for layer in trace.layers:
            small = overviews.thumbnails(trace, layer.index, size)
            for head in range(layer.n_heads):
                expected = trace.attention(layer.index, head).overview(size)
                torch.testing.assert_close(small[head], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("quantity", ["weights", "scores"])
def test_a_pooled_map_is_exact(decoder, quantity):
    a = decoder.attention(1, 3)
    full = a.weights() if quantity == "weights" else a.scores()
    made = overviews.pooled_map(decoder, 1, 3, quantity, size=10)
    assert made.side == 4 and made.cells.shape == (10, 10)
    for i in range(10):
        for j in range(10):
            square = full[4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            assert float(made.cells[i, j]) == pytest.approx(float(square.max()), abs=1e-5)
    torch.testing.assert_close(made.row_max, full.amax(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.col_max, full.amax(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("quantity", ["weights", "scores"])
def test_a_tile_is_a_part_of_the_map(decoder, side, quantity):
    a = decoder.attention(0, 1)
    full = a.weights() if quantity == "weights" else a.scores()
    got = overviews.tile(decoder, 0, 1, slice(8, 29), slice(4, N), side, quantity)
    part = full[8:29, 4:N]
    assert got.shape == (-(-21 // side), -(-33 // side))
    for i in range(got.shape[0]):
        for j in range(got.shape[1]):
            square = part[side * i : side * i + side, side * j : side * j + side]
            assert float(got[i, j]) == pytest.approx(float(square.max()), abs=1e-6)


def test_a_missing_head_is_an_error(decoder):
    with pytest.raises(AttnVizError):
        heads.token_metrics(decoder, 0, 9)
    with pytest.raises(AttnVizError):
        overviews.pooled_map(decoder, 5, 0)
