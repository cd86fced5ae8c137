"""What a model writes is recorded as one trace of it all, and can be gone on with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

import attnviz
from attnviz import AttnVizError
from attnviz.edits import AblateHead, BlockEdge, Temperature
from attnviz.trace.compute import Pattern, Products
from attnviz.trace.generation import Generation, Step
from attnviz.trace.merge import Passes
from attnviz.trace.model import Model
from attnviz.trace.recorder import Call
from attnviz.trace.rules import ScoreRules
from tests.unit.trace.models import CAUSAL, N, build, tokens

WRITING = (*CAUSAL, "t5")


def writer(name: str) -> Model:
    """A model that writes on without an end."""
    module = build(name)
    module.generation_config.eos_token_id = None
    return attnviz.wrap(module)


def whole(model: Model, written: Generation, prompt: torch.Tensor) -> dict[str, torch.Tensor]:
    """The final text as the input of one forward pass."""
    ids = [t.id for t in written.tokens]
    if model.module.config.is_encoder_decoder:
        read = [t.id for t in written.trace.target_tokens]
        return {"input_ids": prompt, "decoder_input_ids": torch.tensor([read])}
    return {"input_ids": torch.cat([prompt, torch.tensor([ids])], dim=1)}


def assert_like_one_pass(model: Model, written: Generation, prompt: torch.Tensor) -> None:
    at_once = model.trace(inputs=whole(model, written, prompt))
    assert [x.kind for x in at_once.layers] == [x.kind for x in written.trace.layers]
    for layer in at_once.layers:
        for head in range(layer.n_heads):
            mine = written.trace.attention(layer.index, head).weights()
            theirs = at_once.attention(layer.index, head).weights()
            # one token at a time rounds otherwise than all at once, layer upon layer
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", CAUSAL)
def test_generation_with_a_cache_is_one_trace_of_the_whole(name: str) -> None:
    module = build(name)
    module.generation_config.eos_token_id = None
    model = attnviz.wrap(module)
    prompt = tokens(1, 5)
    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=7)
    ids = torch.cat([prompt, torch.tensor([[t.id for t in written.tokens]])], dim=1)
    with torch.no_grad():
        plain = module.generate(input_ids=prompt, max_new_tokens=7, do_sample=False)
    assert torch.equal(ids, plain)
    whole = model.trace(inputs={"input_ids": ids})
    assert len(written.trace.tokens) == 12 == written.trace.layers[0].n_q
    assert all(f.passed for f in written.trace.fidelity())
    for layer in whole.layers:
        for head in range(layer.n_heads):
            cached = written.trace.attention(layer.index, head).weights()
            at_once = whole.attention(layer.index, head).weights()
            # one token at a time rounds otherwise than all at once, layer upon layer
            torch.testing.assert_close(cached, at_once, rtol=0, atol=1e-4)
    torch.testing.assert_close(written.trace.residual(-1), whole.residual(-1), rtol=0, atol=1e-3)


def test_an_encoder_decoder_writes_with_all_three_attentions() -> None:
    module = build("t5")
    module.generation_config.eos_token_id = None
    model = attnviz.wrap(module)
    written = model.generate(inputs={"input_ids": tokens(1, N)}, max_new_tokens=6)
    assert [x.kind for x in written.trace.layers].count("cross") == 2
    assert all(f.passed for f in written.trace.fidelity())
    given = {
        "input_ids": tokens(1, N),
        "decoder_input_ids": torch.tensor([[t.id for t in written.trace.target_tokens]]),
    }
    whole = model.trace(inputs=given)
    for layer in whole.layers:
        cached = written.trace.attention(layer.index, 2).weights()
        at_once = whole.attention(layer.index, 2).weights()
        torch.testing.assert_close(cached, at_once, rtol=0, atol=1e-4)


def test_a_listener_stops_the_writing() -> None:
    seen: list[int] = []

    def listen(step: Step) -> bool:
        seen.append(step.id)
        return len(seen) == 3

    model = attnviz.wrap(build("gpt2"))
    written = model.generate(
        inputs={"input_ids": tokens(1, 4)}, max_new_tokens=50, temperature=1.0, on_token=listen
    )
    assert [t.id for t in written.tokens] == seen and len(seen) == 3


def test_drawing_depends_on_the_seed_alone() -> None:
    model = attnviz.wrap(build("gpt2"))
    state = torch.random.get_rng_state()

    def draw(seed: int) -> list[int]:
        out = model.generate(
            inputs={"input_ids": tokens(1, 4)}, max_new_tokens=8, temperature=1.5, seed=seed
        )
        return [t.id for t in out.tokens]

    assert draw(1) == draw(1) != draw(2)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("how", [{}, {"temperature": 1.3, "top_k": 20, "seed": 5}])
@pytest.mark.parametrize("name", WRITING)
def test_going_on_is_writing_at_once(name: str, how: dict[str, Any]) -> None:
    model, prompt = writer(name), tokens(1, 6)
    given = {"input_ids": prompt}
    at_once = model.generate(inputs=given, max_new_tokens=6, **how)
    ids = [t.id for t in at_once.tokens]
    after: list[int] = []
    for n in (1, 1, 1, 3):
        step = model.generate(inputs=given, after=after, max_new_tokens=n, **how)
        after = [t.id for t in step.tokens]
        assert after == ids[: len(after)]
    assert after == ids
    assert step.start == at_once.start == (1 if name == "t5" else 6)
    assert step.text == at_once.text
    assert step.trace.tokens == at_once.trace.tokens
    assert step.trace.target_tokens == at_once.trace.target_tokens
    assert all(f.passed for f in step.trace.fidelity())
    assert_like_one_pass(model, step, prompt)


def test_a_text_is_gone_on_in_words() -> None:
    model = attnviz.load("smollm2-135m", device="cpu")
    text = "The capital of France is"
    all_of_it = model.generate(text, max_new_tokens=4)
    first = model.generate(text, max_new_tokens=2)
    rest = model.generate(text, after=[t.id for t in first.tokens], max_new_tokens=2)
    assert rest.text == all_of_it.text
    assert rest.text.startswith(first.text) and first.text.startswith(" Paris")
    assert rest.start == 5 and rest.tokens == all_of_it.tokens


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_nothing_is_written_after_the_end(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    free = model.generate(inputs={"input_ids": prompt}, max_new_tokens=8)
    model.module.generation_config.eos_token_id = [free.tokens[2].id]
    ended = model.generate(inputs={"input_ids": prompt}, max_new_tokens=8)
    ids = [t.id for t in ended.tokens]
    assert ids[-1] == free.tokens[2].id and len(ids) <= 3
    again = model.generate(inputs={"input_ids": prompt}, after=ids, max_new_tokens=8)
    assert again.tokens == ended.tokens and again.start == ended.start
    assert_like_one_pass(model, again, prompt)
    assert all(f.passed for f in again.trace.fidelity())


@pytest.mark.parametrize("name", WRITING)
def test_the_logits_of_each_position_are_those_of_one_pass(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    keep = ("qkv", "logits")
    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=5, keep=keep)
    with torch.no_grad():
        plain = model.module(**whole(model, written, prompt)).logits[0]
    assert written.trace.logits is not None
    assert written.trace.logits.shape == plain.shape
    # one token at a time rounds otherwise than all at once; these logits reach 30
    torch.testing.assert_close(written.trace.logits, plain, rtol=1e-4, atol=1e-3)
    # and each position's likeliest is what was written next
    first = 0 if name == "t5" else 5
    best = written.trace.logits[first : first + 5].argmax(-1).tolist()
    assert best == [t.id for t in written.tokens]
    last = model.generate(inputs={"input_ids": prompt}, max_new_tokens=5, keep=("qkv",))
    assert last.trace.logits is not None and last.trace.logits.shape[0] == 1
    torch.testing.assert_close(last.trace.logits, written.trace.logits[-1:])


@pytest.mark.parametrize("name", WRITING)
def test_a_listener_sees_each_tokens_attention(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    seen: list[tuple[Step, dict[int, torch.Tensor], torch.Tensor]] = []
    layers = range(6 if name == "t5" else 2)  # t5: encoder, and a decoder's and a cross a block

    def listen(step: Step) -> bool:
        rows = {i: step.weights(i, 1) for i in layers}
        since = step.weights(layers[-1], 1, since=0 if name == "t5" else 5)
        seen.append((step, rows, since))
        return False

    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=6, on_token=listen)
    assert [step.id for step, _, _ in seen] == [t.id for t in written.tokens]
    for i, (step, rows, since) in enumerate(seen):
        assert step.position == written.start + i
        assert step.ids[written.start :].tolist() == [t.id for t in written.tokens[: i + 1]]
        for layer in layers:
            assert step.kind(layer) == written.trace.layers[layer].kind
            exact = written.trace.attention(layer, 1).weights()
            query = -1 if written.trace.layers[layer].kind == "encoder" else step.position - 1
            row = rows[layer]
            assert row.shape[0] == 1
            torch.testing.assert_close(row[0], exact[query, : row.shape[1]], rtol=0, atol=1e-6)
            assert not exact[query, row.shape[1] :].any()
        assert since.shape[0] == i + 1
        all_rows = written.trace.attention(layers[-1], 1).weights()[
            written.start - 1 : written.start + i
        ]
        torch.testing.assert_close(since, all_rows[:, : since.shape[1]], rtol=0, atol=1e-6)


def test_a_listener_who_asks_for_no_such_head_is_told() -> None:
    def listen(step: Step) -> bool:
        with pytest.raises(AttnVizError, match="no layer 2"):
            step.weights(2, 0)
        with pytest.raises(AttnVizError, match="no head 4"):
            step.weights(0, 4)
        return True

    model = writer("gpt2")
    assert model.generate(inputs={"input_ids": tokens(1, 4)}, on_token=listen).tokens


@pytest.mark.parametrize("name", ["llama", "mistral", "t5"])
def test_memory_while_writing_grows_with_the_text_and_not_its_square(name: str) -> None:
    model = writer(name)
    held: list[int] = []

    def listen(step: Step) -> bool:
        held.append(step.passes.nbytes)
        return False

    model.generate(inputs={"input_ids": tokens(1, 4)}, max_new_tokens=128, on_token=listen)
    # all passes' whole keys and values would be 14 times as much at 127 as at 31
    assert held[127] < 4.5 * held[31]
    # what each token adds: Q, K, V, the output, and its place in the last pass's keys and values
    config = model.module.config
    d = 4 * (config.d_kv if name == "t5" else config.head_dim) * 4  # heads, their size, bytes
    assert (held[127] - held[63]) / 64 <= 6 * d * len(list(_layers(model)))


def _layers(model: Model) -> list[int]:
    return [x.index for x in model.generate(inputs={"input_ids": tokens(1, 4)}).trace.layers]


def test_a_model_without_a_cache_is_traced_all_the_same() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = OpenAIGPTConfig(n_layer=2, n_head=4, n_embd=32, vocab_size=99)
        model = attnviz.wrap(OpenAIGPTLMHeadModel(config).eval())
    newest: list[torch.Tensor] = []
    prompt = tokens(1, 5)
    written = model.generate(
        inputs={"input_ids": prompt},
        max_new_tokens=4,
        on_token=lambda step: bool(newest.append(step.weights(1, 2)[0])),  # type: ignore[func-returns-value]
    )
    assert len(written.trace.tokens) == written.trace.layers[0].n_q == 9
    assert_like_one_pass(model, written, prompt)
    exact = written.trace.attention(1, 2).weights()
    for i, row in enumerate(newest):
        torch.testing.assert_close(row, exact[4 + i, : 5 + i])


def test_passes_of_several_kinds_are_not_made_one() -> None:
    """An exact pass and a dense one: of the first too few keys are left."""
    attention = torch.nn.Identity()
    q = k = v = torch.randn(1, 2, 4, 3)
    passes = Passes(lambda module: "decoder")
    passes.add([Call(attention, Products(q, k, v, ScoreRules(1.0)), None, "exact", index=0)])
    weights = torch.full((1, 2, 1, 5), 0.2)
    passes.add([Call(attention, Pattern(weights), None, "dense", "its own", index=0)])
    (layer,) = passes.merged()
    assert layer.source == "refused" and "some could not" in layer.reason


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_edits_act_on_every_token(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    last = 5 if name == "t5" else 1  # t5: the last cross-attention
    edits = [AblateHead(last, 1), Temperature(last - 1, 2, 0.2), BlockEdge(last, 0, 2, 0)]
    seen: list[torch.Tensor] = []
    given: dict[str, torch.Tensor] = {"input_ids": prompt}
    written = model.generate(
        inputs=given,
        after=(11, 12, 13),  # so that the decoder has a query 2 from the start
        max_new_tokens=4,
        edits=edits,
        on_token=lambda step: bool(seen.append(step.weights(last, 0)[0])),  # type: ignore[func-returns-value]
    )
    ids = [t.id for t in written.tokens]
    assert len(ids) == 7 and len(seen) == 4
    for i in range(3, 7):  # each token is the likeliest of an edited trace of all before it
        if name == "t5":
            given["decoder_input_ids"] = torch.tensor([[0, *ids[:i]]])
        else:
            given["input_ids"] = torch.cat([prompt, torch.tensor([ids[:i]])], dim=1)
        trace = model.trace(inputs=given, edits=edits)
        assert trace.predictions(k=1)[0].id == ids[i]
        exact = trace.attention(last, 0).weights()[-1]
        torch.testing.assert_close(seen[i - 3], exact, rtol=0, atol=1e-6)
    whole_of_it = written.trace.attention(last, 0).weights()
    assert whole_of_it[2, 0] == 0 and whole_of_it[3, 0] > 0
    assert not written.trace.attention(last, 1).output().any()
    assert all(f.passed for f in written.trace.fidelity())
    with pytest.raises(AttnVizError, match="no layer 9"):
        model.generate(inputs={"input_ids": prompt}, max_new_tokens=1, edits=[AblateHead(9, 0)])
