"""Edits of one head apply in order, and what they do not change stays bit-equal."""

from __future__ import annotations

import pytest
import torch
import transformers as hf

import attnviz
from attnviz import AttnVizError
from attnviz.analysis import matrices, overviews
from attnviz.canvas import map_payload
from attnviz.edits import AblateHead, BlockEdge, PatchHead, ScaleHead, SetPattern, Temperature
from attnviz.trace import Trace
from attnviz.trace.attention_map import AttentionMap
from attnviz.trace.edited import EditedRecord, HeadChange
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.records import QKVRecord
from attnviz.trace.term_detection import mask_term
from attnviz.trace.terms import Term
from tests.unit.trace.models import N, build, tokens

LAYER, HEAD = 0, 1
GIVEN = {"input_ids": tokens(1, N)}
MODEL = attnviz.wrap(build("llama"))
SINKS = attnviz.wrap(build("gpt_oss"))


def run(*edits: object, model: attnviz.trace.Model = MODEL) -> Trace:
    trace = model.trace(inputs=GIVEN, edits=edits, keep=("qkv", "output", "logits"))  # type: ignore[arg-type]
    assert all(f.passed for f in trace.fidelity())
    return trace


PLAIN = run()
W = PLAIN.attention(LAYER, HEAD).weights()
V = PLAIN.attention(LAYER, HEAD).v
PATTERN = torch.rand(N, N, generator=torch.Generator().manual_seed(0)).tril() * 0.2


def weights(*edits: object) -> torch.Tensor:
    return run(*edits).attention(LAYER, HEAD).weights()


def blocked(w: torch.Tensor, query: int, key: int) -> torch.Tensor:
    """A row keeps its sum."""
    w = w.double().clone()
    total = w[query].sum()
    w[query, key] = 0
    w[query] *= total / w[query].sum()
    return w.float()


def tempered(w: torch.Tensor, temperature: float) -> torch.Tensor:
    """weights ** (1 / T), each row with its sum."""
    p = w.double() ** (1 / temperature)
    return (p * (w.double().sum(-1) / p.sum(-1))[:, None]).float()


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (["pattern", "block"], blocked(PATTERN, 6, 2)),
        (["pattern", "heat"], tempered(PATTERN, 3.0)),
        (["pattern", "block", "heat"], tempered(blocked(PATTERN, 6, 2), 3.0)),
        (["pattern", "heat", "block"], blocked(tempered(PATTERN, 3.0), 6, 2)),
        (["block", "heat", "pattern"], PATTERN),
        (["block", "heat"], tempered(blocked(W, 6, 2), 3.0)),
        (["heat", "block"], blocked(tempered(W, 3.0), 6, 2)),
        (["heat", "heat"], tempered(W, 9.0)),
    ],
)
def test_weight_changes_apply_in_order(edits: list[str], expected: torch.Tensor) -> None:
    made = {
        "pattern": SetPattern(LAYER, HEAD, PATTERN),
        "block": BlockEdge(LAYER, HEAD, query=6, key=2),
        "heat": Temperature(LAYER, HEAD, 3.0),
    }
    a = run(*(made[name] for name in edits)).attention(LAYER, HEAD)
    # scores of up to 40, a third of them, exponentiated: 1e-6 of themselves
    torch.testing.assert_close(a.weights(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(a.output(), expected @ V, rtol=1e-4, atol=1e-5)


def test_blocking_the_only_edge_of_a_pattern_row_leaves_zeros() -> None:
    alone = torch.zeros(N, N)
    alone[4, 1] = 0.7
    w = weights(SetPattern(LAYER, HEAD, alone), BlockEdge(LAYER, HEAD, 4, 1))
    assert not w.any()


def test_a_pattern_with_negative_weights_has_no_temperature() -> None:
    negative = PATTERN - 0.1
    with pytest.raises(AttnVizError, match="negative"):
        run(SetPattern(LAYER, HEAD, negative), Temperature(LAYER, HEAD, 2.0))
    run(Temperature(LAYER, HEAD, 2.0), SetPattern(LAYER, HEAD, negative))  # nothing is left of it


def test_output_changes_apply_after_weight_changes() -> None:
    out = run(ScaleHead(LAYER, HEAD, 2.0), SetPattern(LAYER, HEAD, PATTERN))
    torch.testing.assert_close(out.attention(LAYER, HEAD).output(), 2 * PATTERN @ V)
    patch = torch.ones(N, 8)
    for edits, expected in (
        ([ScaleHead(LAYER, HEAD, 2.0), PatchHead(LAYER, HEAD, patch)], patch),
        ([PatchHead(LAYER, HEAD, patch), ScaleHead(LAYER, HEAD, 2.0)], 2 * patch),
        ([PatchHead(LAYER, HEAD, patch), SetPattern(LAYER, HEAD, PATTERN)], patch),
        ([AblateHead(LAYER, HEAD), SetPattern(LAYER, HEAD, PATTERN)], 0 * patch),
    ):
        trace = run(*edits)
        assert torch.equal(trace.attention(LAYER, HEAD).output(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "edit",
    [
        Temperature(LAYER, HEAD, 1.0),
        ScaleHead(LAYER, HEAD, 1.0),
        BlockEdge(LAYER, HEAD, query=3, key=7),  # it sees no later key
    ],
)
def test_a_change_without_effect_is_bit_equal(edit: object, dtype: torch.dtype) -> None:
    model = attnviz.wrap(build("llama").to(dtype))
    assert torch.equal(run(edit, model=model).logits, run(model=model).logits)  # type: ignore[arg-type]


def own_output(model: attnviz.trace.Model, *edits: object) -> torch.Tensor:
    """(1, n, H, d_v) the output as the layer returned it."""
    calls: list[torch.Tensor] = []
    attention = model.module.model.layers[LAYER].self_attn
    hook = attention.o_proj.register_forward_pre_hook(lambda _, args: calls.append(args[0]))
    try:
        model.trace(inputs=GIVEN, edits=edits)  # type: ignore[arg-type]
    finally:
        hook.remove()
    return calls[0].view(1, N, 4, -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unchanged_heads_and_rows_are_bit_equal(dtype: torch.dtype) -> None:
    model = attnviz.wrap(build("llama").to(dtype))
    plain, others = own_output(model), torch.arange(4) != HEAD
    for edit in (BlockEdge(LAYER, HEAD, 6, 2), Temperature(LAYER, HEAD, 2.0)):
        changed = own_output(model, edit)
        assert torch.equal(changed[:, :, others], plain[:, :, others])
        assert not torch.equal(changed[0, 6, HEAD], plain[0, 6, HEAD])
    rows = torch.arange(N) != 6
    changed = own_output(model, BlockEdge(LAYER, HEAD, 6, 2))
    assert torch.equal(changed[:, rows], plain[:, rows])
    assert torch.equal(
        own_output(model, ScaleHead(LAYER, HEAD, 2.0))[:, :, HEAD], 2 * plain[:, :, HEAD]
    )


def test_a_set_pattern_has_no_scores() -> None:
    trace = run(SetPattern(LAYER, HEAD, PATTERN), BlockEdge(LAYER, HEAD, 6, 2))
    a = trace.attention(LAYER, HEAD)
    for look in (
        a.scores,
        lambda: map_payload(trace, LAYER, HEAD, quantity="scores"),
        lambda: matrices.attention(trace, LAYER, HEAD, "scores"),
        lambda: matrices.one_query(trace, LAYER, HEAD, 3),
    ):
        with pytest.raises(AttnVizError, match="set by an edit"):
            look()
    assert a.masked() is None
    assert torch.isfinite(trace.attention(LAYER, 0).scores()[N - 1]).all()  # others have theirs
    map_payload(trace, LAYER, HEAD)  # its weights are drawn
    assert matrices.attention(trace, LAYER, HEAD).masked is None
    later = torch.ones(N, N, dtype=torch.bool).triu(1)
    before = run(BlockEdge(LAYER, HEAD, 6, 2)).attention(LAYER, HEAD)
    later[6, 2] = True
    assert torch.equal(torch.isneginf(before.scores()), later)


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_the_max_of_negative_weights_is_negative(side: int) -> None:
    n = 11  # the last squares are smaller
    negative = -PATTERN[:n, :n] - 0.1
    edits = [SetPattern(LAYER, HEAD, negative)]
    trace = MODEL.trace(inputs={"input_ids": tokens(1, n)}, edits=edits)
    size = -(-n // side)
    expected = torch.stack(
        [
            torch.stack([negative[i : i + side, j : j + side].max() for j in range(0, n, side)])
            for i in range(0, n, side)
        ]
    )
    assert torch.equal(trace.attention(LAYER, HEAD).overview(size), expected)
    picture = overviews.pooled_map(trace, LAYER, HEAD, size=size)
    assert torch.equal(picture.cells, expected)
    assert torch.equal(picture.row_max, negative.amax(1))
    assert torch.equal(picture.col_max, negative.amax(0))
    small = overviews.thumbnails(trace, LAYER, size=size)
    assert torch.equal(small[HEAD], expected)
    assert float(small[0].min()) >= 0  # other heads keep theirs
    assert torch.equal(overviews.tile(trace, LAYER, HEAD, slice(0, n), slice(0, n), side), expected)


def sinks_by_hand(temperature: float, block: tuple[int, int] | None) -> torch.Tensor:
    """(N, N) weights of gpt-oss's head, whose sink takes its share, in float64."""
    a = SINKS.trace(inputs=GIVEN).attention(LAYER, HEAD)
    s = a.scores().double() / temperature
    if block is not None:
        s[block] = -torch.inf
    sink = SINKS.module.model.layers[LAYER].self_attn.sinks[HEAD].double().detach()
    return torch.softmax(torch.cat([s, sink.expand(N, 1)], -1), -1)[:, :-1]


@pytest.mark.parametrize("block", [None, (6, 5)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_sinks_share_follows_the_edited_scores(
    temperature: float, block: tuple[int, int] | None
) -> None:
    edits: list[object] = [Temperature(LAYER, HEAD, temperature)]
    edits += [] if block is None else [BlockEdge(LAYER, HEAD, *block)]
    expected = sinks_by_hand(temperature, block)
    mine = run(*edits, model=SINKS).attention(LAYER, HEAD).weights()
    torch.testing.assert_close(mine.double(), expected, rtol=0, atol=1e-5)
    # the same layer as in Granite SWA: a gate after the softmax, from the same scores
    record = SINKS.trace(inputs=GIVEN).layer_record(LAYER)
    plain = record.modifiers
    modifiers = ScoreModifiers(plain.scaling, None, plain.terms, plain.sinks, True)
    gated = QKVRecord(record.q, record.k, record.v, modifiers)
    changes = (HeadChange(HEAD, temperature=temperature),)
    changes += () if block is None else (HeadChange(HEAD, blocked=(block,)),)
    out = AttentionMap(EditedRecord(gated, changes), HEAD).output()
    torch.testing.assert_close(
        out.double(), expected @ record.v[0, HEAD // 2].double(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("fill", [-torch.inf, torch.finfo(torch.float32).min, -1e4, -100.0])
def test_an_edit_gives_no_weight_to_masked_keys(fill: float) -> None:
    """A fill divided by a temperature, or in a row without visible keys, would."""
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 1, N, 8, generator=g) for _ in range(3))
    hidden = torch.ones(N, N, dtype=torch.bool).triu(1)
    hidden[3] = True  # a row of padding
    term = mask_term(torch.zeros(1, 1, N, N).masked_fill(hidden, fill))
    assert isinstance(term, Term)
    base = QKVRecord(q, k, v, ScoreModifiers(1.0, terms=(term,)))
    before = AttentionMap(base, 0).weights()
    hot = AttentionMap(EditedRecord(base, (HeadChange(0, temperature=50.0),)), 0)
    rows = torch.arange(N) != 3
    scores = (q[0, 0].double() @ k[0, 0].double().T / 50.0).masked_fill(hidden, -torch.inf)
    expected = torch.softmax(scores, -1)
    torch.testing.assert_close(hot.weights().double()[rows], expected[rows], rtol=0, atol=1e-6)
    assert torch.equal(torch.isneginf(hot.scores()), hidden)
    # row 0 sees only itself; without that it sees nothing
    alone = AttentionMap(EditedRecord(base, (HeadChange(0, blocked=((0, 0),)),)), 0)
    assert not alone.weights()[0].any()
    torch.testing.assert_close(alone.weights()[1:], before[1:])


def granite() -> attnviz.trace.Model:
    """Sinks that scale a row's output, beside grouped-query heads and a window."""
    config = hf.GraniteSWAConfig(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=32,
        intermediate_size=64, vocab_size=99, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        attention_multiplier=0.35,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = hf.GraniteSWAForCausalLM(config).eval()
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(torch.randn_like(p) * (0.15 if p.ndim > 1 else 0.5) + (p.ndim == 1))
    return attnviz.wrap(module)


@pytest.mark.parametrize("block", [None, (6, 5)])
def test_an_output_gate_follows_the_edited_scores(
    block: tuple[int, int] | None,
) -> None:
    model = granite()
    a = model.trace(inputs=GIVEN).attention(LAYER, HEAD)
    s = a.scores().double() / 3.0
    if block is not None:
        s[block] = -torch.inf
    sink = model.module.model.layers[LAYER].self_attn.sinks[HEAD].double().detach()
    gate = torch.sigmoid(s.logsumexp(-1) - sink)[:, None]
    assert float(gate.min()) < 0.9  # it has an effect
    edits = [Temperature(LAYER, HEAD, 3.0)]
    edits += [] if block is None else [BlockEdge(LAYER, HEAD, *block)]  # type: ignore[list-item]
    expected = torch.softmax(s, -1) @ a.v.double() * gate
    mine = own_output(model, *edits)[0, :, HEAD]
    torch.testing.assert_close(mine.double(), expected, rtol=0, atol=1e-5)
