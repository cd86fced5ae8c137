"""Every registered metric against its own definition, and what registering does.

A metric's definition (``per_query``) is evaluated on whole matrices in float64. A new metric is
tested by being registered: nothing is added here.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import math
import pickle
import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import attnviz
from attnviz.analysis import heads, layer_pass, matrices
from attnviz.analysis.metrics import METRICS, metric, table
from attnviz.analysis.positions import Row, Tile, Tokens, layer_tokens, row_entropy
from attnviz.canvas import grid_payload, wire
from attnviz.edits import BlockEdge, SetPattern
from attnviz.errors import AttnVizError
from attnviz.trace import Trace, records


def check(got: float | None, name: str, w: Tensor, tokens: Tokens) -> None:
    """Compare a head's metric with its definition, query by query.

    Args:
        w: (n_q, n_k) float64 weights of the head.
    """
    counted = METRICS[name].rows(tokens)
    if not counted:
        assert got is None
        return
    values = [METRICS[name].of_query(Row(row, i, tokens)) for i, row in enumerate(w)]
    values = [value for value in values if not math.isnan(value)]
    assert len(values) == counted
    # sums of some hundred float32 weights; a distance multiplies them by up to 36
    assert got == pytest.approx(sum(values) / counted, rel=1e-5, abs=1e-5)


def causal() -> Trace:
    config = GPT2Config(vocab_size=20, n_layer=2, n_head=4, n_embd=32, n_positions=64)
    config.bos_token_id = config.eos_token_id = 0
    module = GPT2LMHeadModel(config).eval()
    for block in module.transformer.h:
        block.attn.c_attn.weight.data[:, :64] *= 8
    return attnviz.wrap(module).trace(inputs={"input_ids": torch.randint(0, 20, (1, 37))})


def continued() -> Trace:
    """9 tokens are in the cache, 5 follow: key-value heads are shared."""
    config = LlamaConfig(
        vocab_size=8,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=32,
        intermediate_size=16,
    )
    module = LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 8, (1, 14))
    past = module(ids[:, :9], use_cache=True).past_key_values
    return attnviz.wrap(module).trace(
        None, inputs={"input_ids": ids[:, 9:], "past_key_values": past}
    )


def windowed() -> Trace:
    """A row sees 7 keys at most; three positions of padding come first."""
    config = MistralConfig(
        vocab_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size=16,
        intermediate_size=16,
        sliding_window=7,
    )
    ids, mask = torch.randint(0, 12, (1, 29)), torch.ones(1, 29, dtype=torch.int64)
    mask[:, :3] = 0
    module = MistralForCausalLM(config).eval()
    return attnviz.wrap(module).trace(inputs={"input_ids": ids, "attention_mask": mask})


def all_kinds() -> Trace:
    """Full, causal and cross-attention."""
    config = T5Config(vocab_size=20, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    config.decoder_start_token_id = 0
    inputs = {
        "input_ids": torch.randint(1, 20, (1, 23)),
        "decoder_input_ids": torch.randint(1, 20, (1, 11)),
    }
    return attnviz.wrap(T5ForConditionalGeneration(config).eval()).trace(inputs=inputs)


TRACES = {made.__name__: made for made in (causal, continued, windowed, all_kinds)}


@pytest.fixture(scope="module", params=TRACES)
def trace(request: pytest.FixtureRequest) -> Trace:
    torch.manual_seed(5)
    return TRACES[request.param]()


@pytest.fixture(autouse=True, params=[None, 150])
def cells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in one block, and in blocks of a few rows."""
    if request.param:
        monkeypatch.setattr(records, "CELLS", request.param)
        monkeypatch.setattr(layer_pass, "TILE_CELLS", request.param)
        monkeypatch.setattr(layer_pass, "STRIP_ROWS", 3)


def tokens_of(trace: Trace, layer: int) -> Tokens:
    return layer_tokens(trace, layer, 0, torch.device("cpu"))


def uniform(trace: Trace, layer: int, head: int) -> Tensor:
    """(n_q, n_k) float64: each row's visible keys alike."""
    a = trace.attention(layer, head)
    hidden = a.masked()
    seen = torch.ones(a.n_q, a.n_k) if hidden is None else (~hidden).float()
    return seen.double() / seen.double().sum(dim=1, keepdim=True).clamp_min(1)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_its_definition_on_the_whole_matrix(trace: Trace, name: str) -> None:
    for got in heads.head_metrics(trace):
        w = trace.attention(got.layer, got.head).weights().double()
        check(got.values[name], name, w, tokens_of(trace, got.layer))


@pytest.mark.parametrize("name", METRICS)
def test_a_query_has_its_definition_on_its_row(trace: Trace, name: str) -> None:
    """Rows of blocks, whose masked columns are left out, are put back together."""
    for layer in trace.layers:
        tokens = tokens_of(trace, layer.index)
        w = trace.attention(layer.index, 1).weights().double()
        found = heads.query_metric(trace, layer.index, 1, name)
        if METRICS[name].rows(tokens):
            exact = [METRICS[name].of_query(Row(row, i, tokens)) for i, row in enumerate(w)]
        else:
            exact = [math.nan] * layer.n_q
        assert found.tolist() == pytest.approx(exact, rel=1e-5, abs=1e-5, nan_ok=True)


BY_HAND = {
    "entropy": [0.0, 1.0, 1.5, 1.8464393446710154],
    "distance": [0.0, 0.5, 0.75, 1.0],
    "first": [1.0, 0.5, 0.25, 0.1],
    "itself": [1.0, 0.5, 0.5, 0.4],
    "previous": [math.nan, 0.5, 0.25, 0.3],
    "max_weight": [1.0, 0.5, 0.5, 0.4],
    "induction": [math.nan, math.nan, 0.25, 0.3],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_definitions_by_hand(name: str) -> None:
    """Four queries of the text A B A B; and the last two of them, after two in a cache."""
    w = torch.zeros(4, 4, dtype=torch.float64)
    for i, row in enumerate(([1.0], [0.5, 0.5], [0.25, 0.25, 0.5], [0.1, 0.2, 0.3, 0.4])):
        w[i, : len(row)] = torch.tensor(row, dtype=torch.float64)
    ids = torch.tensor([7, 8, 7, 8])
    for n_q in (4, 2):
        tokens = Tokens(n_q, 4, aligned=True, ids=ids, n_repeats=2)
        found = [METRICS[name].of_query(Row(w[4 - n_q + i], i, tokens)) for i in range(n_q)]
        assert found == pytest.approx(BY_HAND[name][4 - n_q :], nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
def test_a_baseline_is_the_definition_of_uniform_attention(trace: Trace, name: str) -> None:
    for layer in trace.layers:
        found = heads.baselines(trace, layer.index)
        assert [(b.layer, b.head) for b in found] == [
            (layer.index, h) for h in range(layer.n_heads)
        ]
        for baseline in found:
            w = uniform(trace, layer.index, baseline.head)
            check(baseline.values[name], name, w, tokens_of(trace, layer.index))


def test_layers_with_the_same_masks_share_a_baseline(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = {layer.index: heads.baselines(trace, layer.index) for layer in trace.layers}
    computed = []
    one_layer = heads.baselines
    monkeypatch.setattr(
        heads, "baselines", lambda t, i, item: computed.append(i) or one_layer(t, i, item)
    )
    assert heads.all_baselines(trace) == exact
    kinds = [layer.kind for layer in trace.layers]
    assert computed == [kinds.index(kind) for kind in dict.fromkeys(kinds)]


def test_layers_with_other_masks_have_their_own_baseline() -> None:
    """Gemma 2: one layer sees a window, the next sees everything before."""
    torch.manual_seed(5)
    config = Gemma2Config(
        vocab_size=12,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        hidden_size=16,
        intermediate_size=16,
        sliding_window=4,
    )
    module = Gemma2ForCausalLM(config).eval()
    trace = attnviz.wrap(module).trace(inputs={"input_ids": torch.arange(11)[None]})
    found = heads.all_baselines(trace)
    assert found == {i: heads.baselines(trace, i) for i in range(4)}
    entropies = [found[i][0].entropy for i in range(4)]
    assert entropies[0] == entropies[2] != entropies[1] == entropies[3]
    edited = attnviz.wrap(module).trace(
        inputs={"input_ids": torch.arange(11)[None]}, edits=[BlockEdge(2, 0, 5, 4)]
    )
    assert heads.all_baselines(edited) == {i: heads.baselines(edited, i) for i in range(4)}
    assert heads.all_baselines(edited)[2][0].entropy != entropies[2]


def test_uniform_attention_in_closed_form() -> None:
    """Of n causal rows, row i sees i + 1 keys; of n full ones, n."""
    torch.manual_seed(5)
    found = heads.baselines(causal(), 1)[0]
    n = 37
    harmonic = sum(1 / i for i in range(1, n + 1))
    assert found.entropy == pytest.approx(sum(math.log2(i) for i in range(1, n + 1)) / n, rel=1e-5)
    for value in (found.first, found.itself, found.max_weight):
        assert value == pytest.approx(harmonic / n, rel=1e-5)
    assert found.previous == pytest.approx((harmonic - 1) / (n - 1), rel=1e-5)
    assert found.distance == pytest.approx((n - 1) / 4, rel=1e-5)  # row i: mean of 0..i
    trace = all_kinds()
    for layer, rows, keys in ((0, 23, 23), (2, 11, 23)):
        found = heads.baselines(trace, layer)[3]
        assert (trace.layers[layer].n_q, trace.layers[layer].n_k) == (rows, keys)
        assert found.entropy == pytest.approx(math.log2(keys), rel=1e-5)
        assert found.first == pytest.approx(1 / keys, rel=1e-5)
        assert found.max_weight == pytest.approx(1 / keys, rel=1e-5)
    assert found.distance is None  # of cross-attention


def test_baselines_are_unknown_for_a_pattern_set_by_hand() -> None:
    torch.manual_seed(5)
    config = GPT2Config(vocab_size=20, n_layer=1, n_head=2, n_embd=16, n_positions=64)
    config.bos_token_id = config.eos_token_id = 0
    edits = [SetPattern(layer=0, head=1, weights=torch.eye(6))]
    model = attnviz.wrap(GPT2LMHeadModel(config).eval())
    inputs = {"input_ids": torch.arange(6)[None]}
    plain, edited = model.trace(inputs=inputs), model.trace(inputs=inputs, edits=edits)
    assert [None in b.values.values() for b in heads.baselines(edited, 0)] == [True, True]
    assert set(heads.baselines(edited, 0)[1].values.values()) == {None}
    assert heads.baselines(plain, 0)[1].entropy is not None


register = partial(metric, title="", help="", unit="", uniform="", per_query=lambda row: 0.0)


@pytest.fixture
def backward() -> Iterator[None]:
    """A metric more, as one function."""

    @metric(
        "backward",
        title="Looks back",
        help="weight on earlier keys",
        unit="0 to 1",
        uniform="",
        per_query=lambda row: row.w[: row.p].sum(),
    )
    def measured(tile: Tile) -> Tensor:
        """mean over i of Σ_j w[i, j] over j < p(i)"""
        return tile.w.tril(tile.at.diagonal - 1).sum(dim=(1, 2))

    yield
    del METRICS["backward"]


@pytest.mark.usefixtures("backward")
def test_a_metric_is_one_function() -> None:
    """It is in the numbers, the grid's choices, the file and the docs."""
    torch.manual_seed(5)
    trace = causal()
    found = heads.head_metrics(trace)
    exact = [
        float(trace.attention(m.layer, m.head).weights().double().tril(-1).sum()) / 37
        for m in found
    ]
    assert [m.backward for m in found] == pytest.approx(exact, abs=1e-5)
    header, arrays = wire.unpack(grid_payload(trace).encode())
    assert header["metrics"][-1] == {
        "key": "backward",
        "title": "Looks back",
        "help": "weight on earlier keys (0 to 1)",
    }
    assert arrays["values"][:, -1].tolist() == pytest.approx(exact, abs=1e-5)
    names, *rows = csv.reader(io.StringIO(matrices.metrics(trace, found).csv()))
    assert names[-1] == "backward"
    assert [float(row[-1]) for row in rows] == pytest.approx(exact, abs=1e-5)
    assert heads.baselines(trace, 0)[0].backward == pytest.approx(
        float(uniform(trace, 0, 0).tril(-1).sum()) / 37, abs=1e-5
    )
    assert "| Looks back | `backward` | 0 to 1 |" in table(METRICS.values())
    w = trace.attention(0, 0).weights().double()
    check(found[0].backward, "backward", w, tokens_of(trace, 0))
    with pytest.raises(AssertionError):  # the definition notices a function of something else
        check(found[0].itself, "backward", w, tokens_of(trace, 0))
    with pytest.raises(ValueError, match="'backward'"):
        register("backward")(lambda tile: tile.w)


def test_a_metric_that_needs_positions_says_how_it_gets_them() -> None:
    torch.manual_seed(5)
    row = Row(torch.ones(3, dtype=torch.float64) / 3, 0, Tokens(2, 3, aligned=False))
    with pytest.raises(TypeError, match=r"rows=Tokens\.own"):
        METRICS["itself"].of_query(row)


def test_a_definition_returns_one_number() -> None:
    wrong = dataclasses.replace(METRICS["first"], per_query=lambda row: row.w)
    row = Row(torch.ones(3, dtype=torch.float64) / 3, 0, Tokens(3, 3, aligned=True))
    with pytest.raises(TypeError, match=re.escape("'first' returned shape (3,)")):
        wrong.of_query(row)


def test_there_is_no_such_metric() -> None:
    with pytest.raises(AttnVizError, match="no metric 'entropie'"):
        heads.query_metric(causal(), 0, 0, "entropie")


@pytest.mark.parametrize("name", ["back ward", "2nd", "class", "layer", "values"])
def test_a_metric_has_a_name_that_can_be_an_attribute(name: str) -> None:
    with pytest.raises(ValueError, match=f"can't be named '{name}'"):
        register(name)(lambda tile: tile.w.sum(dim=(1, 2)))
    assert name not in METRICS


def test_rows_of_a_metric_are_a_function() -> None:
    with pytest.raises(TypeError, match="'wrong' has rows=5"):
        register("wrong", rows=5)(lambda tile: tile.w)
    assert "wrong" not in METRICS


@pytest.mark.parametrize(
    ("measure", "found"),
    [
        (lambda tile: tile.w.sum(dim=2), "shape (4, 37)"),  # a number a row
        (lambda tile: tile.w.sum(), "shape ()"),
        (lambda tile: 0.5, "float"),
    ],
)
def test_what_a_metric_returns_is_one_number_a_head(
    measure: Callable[[Tile], Tensor], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    trace = causal()
    monkeypatch.setattr(records, "CELLS", 1 << 20)  # one tile
    monkeypatch.setattr(layer_pass, "TILE_CELLS", 1 << 20)
    monkeypatch.setattr(layer_pass, "STRIP_ROWS", 64)
    register("wrong")(measure)
    try:
        with pytest.raises(TypeError, match=re.escape(f"'wrong' returned {found} for")):
            heads.layer_metrics(trace, 0)
    finally:
        del METRICS["wrong"]


def test_metrics_are_attributes_that_copies_keep() -> None:
    torch.manual_seed(5)
    one = heads.head_metrics(causal())[0]
    assert list(one.values) == list(METRICS)
    for other in (one, copy.copy(one), pickle.loads(pickle.dumps(one))):
        assert other.entropy == one.values["entropy"] is not None
        assert not hasattr(other, "entropie")


def test_every_metric_has_a_row_in_the_table() -> None:
    assert all(m.formula and m.uniform and m.unit for m in METRICS.values())
    assert [row.split("`")[1] for row in table(METRICS.values()).splitlines()[2:]] == list(METRICS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sink", [None, -3.0, 300.0])
def test_entropy_from_scores_is_that_of_the_weights(sink: float | None, dtype: torch.dtype) -> None:
    """One logarithm a row, through masks, fills, rows without a key and sinks; float64 judges."""
    torch.manual_seed(7)
    scores = torch.randn(2, 6, 50, dtype=dtype) * 4
    scores[:, 1, 30:] = -torch.inf
    scores[:, 2] = -torch.inf  # sees no key
    scores[:, 3, 5:] = torch.finfo(dtype).min
    scores[:, 4, 9] = 90.0  # one key takes all
    columns = scores.double()
    if sink is not None:
        columns = torch.cat([columns, torch.full((2, 6, 1), sink, dtype=torch.float64)], dim=2)
    exact = columns.softmax(dim=2)[..., :50].nan_to_num(nan=0.0)
    w = exact.to(dtype)
    bits = -torch.special.xlogy(exact, exact).sum(dim=2) / math.log(2)
    found = row_entropy(w, scores, w.amax(dim=2))
    # float32 rounds scores of this size by 4e-6, and 50 of them add up
    torch.testing.assert_close(
        found.double(), bits, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0
    )
    torch.testing.assert_close(row_entropy(w).double(), bits, atol=1e-5, rtol=0)
