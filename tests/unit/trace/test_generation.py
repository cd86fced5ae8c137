"""A generation is recorded as one trace of prompt and continuation, and can be continued."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    Phi3Config,
    Phi3ForCausalLM,
)

import attnviz
from attnviz import AttnVizError
from attnviz.edits import AblateHead, BlockEdge, Temperature
from attnviz.trace.call import Call
from attnviz.trace.decoding import logits_processors
from attnviz.trace.generation import Generation, GenerationStep
from attnviz.trace.model import Model
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.passes import Passes
from attnviz.trace.records import QKVRecord, WeightsRecord
from tests.unit.trace.models import CAUSAL, N, build, tokens

WRITING = (*CAUSAL, "t5")


def writer(name: str) -> Model:
    """A model that generates without an end token."""
    module = build(name)
    module.generation_config.eos_token_id = None
    return attnviz.wrap(module)


def whole(model: Model, written: Generation, prompt: torch.Tensor) -> dict[str, torch.Tensor]:
    """The whole text as the input of one forward pass."""
    ids = [t.id for t in written.tokens]
    if model.module.config.is_encoder_decoder:
        read = [t.id for t in written.trace.target_tokens]
        return {"input_ids": prompt, "decoder_input_ids": torch.tensor([read])}
    return {"input_ids": torch.cat([prompt, torch.tensor([ids], dtype=torch.long)], dim=1)}


def assert_like_one_pass(model: Model, written: Generation, prompt: torch.Tensor) -> None:
    at_once = model.trace(inputs=whole(model, written, prompt))
    assert [x.kind for x in at_once.layers] == [x.kind for x in written.trace.layers]
    for layer in at_once.layers:
        for head in range(layer.n_heads):
            mine = written.trace.attention(layer.index, head).weights()
            theirs = at_once.attention(layer.index, head).weights()
            # one token at a time rounds differently, and more with each layer
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", CAUSAL)
def test_generation_with_a_cache_is_one_trace_of_the_whole_text(name: str) -> None:
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
            # one token at a time rounds differently, and more with each layer
            torch.testing.assert_close(cached, at_once, rtol=0, atol=1e-4)
    torch.testing.assert_close(written.trace.residual(-1), whole.residual(-1), rtol=0, atol=1e-3)


def test_an_encoder_decoder_generates_with_all_three_attentions() -> None:
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


def test_on_token_stops_the_generation() -> None:
    seen: list[int] = []

    def listen(step: GenerationStep) -> bool:
        seen.append(step.id)
        return len(seen) == 3

    model = attnviz.wrap(build("gpt2"))
    written = model.generate(
        inputs={"input_ids": tokens(1, 4)}, max_new_tokens=50, temperature=1.0, on_token=listen
    )
    assert [t.id for t in written.tokens] == seen and len(seen) == 3


def test_sampling_depends_on_the_seed_alone() -> None:
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
def test_continuing_equals_generating_at_once(name: str, how: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("name", ["llama", "gpt_oss"])
def test_a_generated_padding_token_is_visible(name: str) -> None:
    model, prompt = writer(name), tokens(1, 5)
    module = model.module
    module.generation_config.pad_token_id = module.config.pad_token_id  # type: ignore[union-attr]
    pad = int(module.config.pad_token_id)  # type: ignore[arg-type]
    written = [17, pad, 23]
    on = model.generate(inputs={"input_ids": prompt}, after=written, max_new_tokens=0)
    whole = torch.cat([prompt, torch.tensor([written])], dim=1)
    once = model.trace(inputs={"input_ids": whole})
    place = 5 + written.index(pad)
    for layer in once.layers:
        seen = on.trace.attention(layer.index, 1).weights()
        assert seen[place + 1, place] > 0
        torch.testing.assert_close(
            seen, once.attention(layer.index, 1).weights(), rtol=0, atol=1e-5
        )  # float32 in two orders


def test_an_end_token_that_pads_is_not_masked_in_the_prompt() -> None:
    """GPT-2's padding token is its end token, with which many prompts begin."""
    module = build("llama")
    config = module.generation_config
    config.pad_token_id = config.eos_token_id = 2  # type: ignore[union-attr]
    prompt = tokens(1, 6)
    prompt[0, 0] = 2
    given = {"input_ids": prompt}
    theirs = module.generate(**given, max_new_tokens=6, do_sample=False)  # type: ignore[operator]
    ours = attnviz.wrap(module).generate(inputs=given, max_new_tokens=6)
    assert [t.id for t in ours.tokens] == theirs[0, 6:].tolist()
    assert ours.trace.attention(0, 0).weights()[3, 0] > 0


def test_a_continuation_is_decoded_as_text() -> None:
    model = attnviz.load("smollm2-135m", device="cpu")
    text = "The capital of France is"
    all_of_it = model.generate(text, max_new_tokens=4)
    first = model.generate(text, max_new_tokens=2)
    rest = model.generate(text, after=[t.id for t in first.tokens], max_new_tokens=2)
    assert rest.text == all_of_it.text
    assert rest.text.startswith(first.text) and first.text.startswith(" Paris")
    assert rest.start == 5 and rest.tokens == all_of_it.tokens


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_nothing_is_generated_after_the_end_token(name: str) -> None:
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
def test_the_logits_of_all_positions_equal_one_pass(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    keep = ("qkv", "logits")
    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=5, keep=keep)
    with torch.no_grad():
        plain = model.module(**whole(model, written, prompt)).logits[0]
    assert written.trace.logits is not None
    assert written.trace.logits.shape == plain.shape
    # one token at a time rounds differently; these logits reach 30
    torch.testing.assert_close(written.trace.logits, plain, rtol=1e-4, atol=1e-3)
    # and each position's most probable token was generated next
    first = 0 if name == "t5" else 5
    best = written.trace.logits[first : first + 5].argmax(-1).tolist()
    assert best == [t.id for t in written.tokens]
    last = model.generate(inputs={"input_ids": prompt}, max_new_tokens=5, keep=("qkv",))
    assert last.trace.logits is not None and last.trace.logits.shape[0] == 1
    torch.testing.assert_close(last.trace.logits, written.trace.logits[-1:])


@pytest.mark.parametrize("name", WRITING)
def test_on_token_gets_each_tokens_attention(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    seen: list[tuple[GenerationStep, dict[int, torch.Tensor], torch.Tensor]] = []
    layers = range(6 if name == "t5" else 2)  # t5: encoder, and a decoder's and a cross a block

    def listen(step: GenerationStep) -> bool:
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


def test_on_token_raises_for_a_missing_head() -> None:
    def listen(step: GenerationStep) -> bool:
        with pytest.raises(AttnVizError, match="no layer 2"):
            step.weights(2, 0)
        with pytest.raises(AttnVizError, match="no head 4"):
            step.weights(0, 4)
        return True

    model = writer("gpt2")
    assert model.generate(inputs={"input_ids": tokens(1, 4)}, on_token=listen).tokens


@pytest.mark.parametrize("name", ["llama", "mistral", "t5"])
def test_memory_of_a_generation_grows_linearly(name: str) -> None:
    model = writer(name)
    sizes: list[int] = []

    def listen(step: GenerationStep) -> bool:
        sizes.append(step.passes.nbytes)
        return False

    model.generate(inputs={"input_ids": tokens(1, 4)}, max_new_tokens=128, on_token=listen)
    # all passes' whole keys and values would be 14 times as much at 127 as at 31
    assert sizes[127] < 4.5 * sizes[31]
    # what each token adds: Q, K, V, the output, and its keys and values in the last pass
    config = model.module.config
    d = 4 * (config.d_kv if name == "t5" else config.head_dim) * 4  # heads, their size, bytes
    assert (sizes[127] - sizes[63]) / 64 <= 6 * d * len(list(_layers(model)))


def _layers(model: Model) -> list[int]:
    return [x.index for x in model.generate(inputs={"input_ids": tokens(1, 4)}).trace.layers]


def test_a_model_without_a_cache_is_traced() -> None:
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


def test_exact_and_dense_passes_are_not_merged() -> None:
    """An exact pass and a dense one: the first has too few keys left."""
    attention = torch.nn.Identity()
    q = k = v = torch.randn(1, 2, 4, 3)
    passes = Passes(lambda module: "decoder")
    passes.add([Call(attention, QKVRecord(q, k, v, ScoreModifiers(1.0)), None, "exact", index=0)])
    weights = torch.full((1, 2, 1, 5), 0.2)
    passes.add([Call(attention, WeightsRecord(weights), None, "dense", "its own", index=0)])
    (layer,) = passes.merged()
    assert layer.source == "refused" and "some could not" in layer.reason


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_edits_apply_to_every_token(name: str) -> None:
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
    for i in range(3, 7):  # the most probable after an edited trace
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


SETTINGS: dict[str, dict[str, Any]] = {
    "no cache": {"use_cache": False},
    "prefill in chunks": {"prefill_chunk_size": 4},
    "prompt look-up": {"prompt_lookup_num_tokens": 3},
    "guidance": {"guidance_scale": 2.5},
    "static cache": {"cache_implementation": "static"},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0},
    "sampling": {"do_sample": True, "temperature": 3.0, "top_k": 7, "min_p": 0.2},
    "penalties": {"repetition_penalty": 1.9, "no_repeat_ngram_size": 1},
    "lengths": {"max_length": 7, "min_length": 4, "max_time": 1e-9},
    "end": {"forced_eos_token_id": 2, "exponential_decay_length_penalty": [1, 1.5]},
    "outputs": {"output_attentions": True, "output_scores": True, "return_dict_in_generate": True},
}


@pytest.mark.parametrize("name", ["mistral", "t5"])
@pytest.mark.parametrize("how", SETTINGS.values(), ids=SETTINGS)
def test_a_checkpoints_generation_settings_do_not_change_a_trace(
    name: str, how: dict[str, Any]
) -> None:
    model, prompt = writer(name), tokens(1, 9)
    config = model.module.generation_config
    with torch.no_grad():
        plain = model.module.generate(input_ids=prompt, max_new_tokens=8)
    config.update(**how)
    before = copy.deepcopy(config)
    keep = ("qkv", "residual", "logits")
    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=8, keep=keep)
    assert config.to_dict() == before.to_dict()
    assert [t.id for t in written.tokens] == plain[0, -8:].tolist()
    n = 8 if name == "t5" else 17  # an encoder-decoder has not read its last token
    trace = written.trace
    assert len(trace.target_tokens or trace.tokens) == n == trace.residual(-1).shape[0]
    assert trace.logits is not None and len(trace.logits) == n
    for layer in trace.layers:
        assert layer.n_q == (9 if layer.kind == "encoder" else n)
    assert_like_one_pass(model, written, prompt)
    assert all(f.passed for f in trace.fidelity())


def test_penalties_of_a_checkpoint_do_not_apply() -> None:
    """The setting has an effect: transformers' own text differs with it."""
    model, prompt = writer("mistral"), tokens(1, 9)
    with torch.no_grad():
        free = model.module.generate(input_ids=prompt, max_new_tokens=8)
        model.module.generation_config.update(**SETTINGS["penalties"])
        bound = model.module.generate(input_ids=prompt, max_new_tokens=8)
    assert not torch.equal(free, bound)


def test_forbidden_tokens_are_not_generated_also_in_a_continuation() -> None:
    model, prompt = writer("gpt2"), tokens(1, 6)
    given = {"input_ids": prompt}
    free = [t.id for t in model.generate(inputs=given, max_new_tokens=6).tokens]
    config = model.module.generation_config
    config.begin_suppress_tokens = [free[0]]
    config.suppress_tokens = [free[1]]
    with torch.no_grad():
        plain = model.module.generate(input_ids=prompt, max_new_tokens=6)[0, 6:].tolist()
    at_once = [t.id for t in model.generate(inputs=given, max_new_tokens=6).tokens]
    assert at_once == plain and plain[0] != free[0] and free[1] not in plain
    for n in range(1, 6):
        rest = model.generate(inputs=given, after=plain[:n], max_new_tokens=6 - n)
        assert [t.id for t in rest.tokens] == plain


def test_threads_sample_what_they_sample_alone() -> None:
    model = writer("gpt2")

    def draw(seed: int) -> list[int]:
        given = {"input_ids": tokens(1, 4, seed=seed)}
        out = model.generate(inputs=given, max_new_tokens=12, temperature=1.5, seed=seed)
        return [t.id for t in out.tokens]

    alone = [draw(seed) for seed in range(12)]
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(draw, range(12)))
    assert together == alone
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len({tuple(text) for text in alone}) == 12


def test_tokens_are_sampled_by_their_probabilities() -> None:
    module, prompt = build("gpt2"), tokens(1, 4)
    with torch.no_grad():
        logits = module(prompt).logits[:, -1]
    top = torch.topk(logits[0] / 2.0, 5)
    odds = top.values.softmax(-1)
    kept = odds.cumsum(-1) - odds < 0.8  # those that add up to p, including the one that reaches it
    expected = torch.where(kept, odds, 0.0) / odds[kept].sum()
    n = 2000
    drawn = [
        int(logits_processors(module, 0, 2.0, 5, 0.8, seed)(prompt, logits).argmax(-1))
        for seed in range(n)
    ]
    counts = torch.tensor([drawn.count(i) for i in top.indices.tolist()])
    assert int(counts.sum()) == n and 1 < int(kept.sum()) < 5
    # five standard deviations of a share of n samples
    spread = 5 * (expected * (1 - expected) / n).sqrt()
    assert bool(((counts / n - expected).abs() <= spread).all())


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_zero_new_tokens_reads_the_text(name: str) -> None:
    model, prompt = writer(name), tokens(1, 6)
    reported: list[int] = []
    written = model.generate(
        inputs={"input_ids": prompt},
        max_new_tokens=0,
        on_token=lambda step: bool(reported.append(step.id)),  # type: ignore[func-returns-value]
    )
    assert written.tokens == () and written.text == "" and reported == []
    assert_like_one_pass(model, written, prompt)
    assert len(written.trace.target_tokens or written.trace.tokens) == (1 if name == "t5" else 6)


def test_the_dropped_token_is_never_reported() -> None:
    model, prompt = writer("llama"), tokens(1, 5)
    reported: list[int] = []

    def listen(step: GenerationStep) -> bool:
        reported.append(step.id)
        return len(reported) == 2

    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=9, on_token=listen)
    assert reported == [t.id for t in written.tokens] and len(reported) == 2
    assert [t.id for t in written.trace.tokens[5:]] == reported
    assert_like_one_pass(model, written, prompt)


def test_a_text_may_end_at_the_models_last_position() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=99, n_positions=12)
        model = attnviz.wrap(GPT2LMHeadModel(config).eval())
    model.module.generation_config.eos_token_id = None
    prompt = tokens(1, 5)
    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=7)
    assert len(written.tokens) == 7 and written.trace.layers[0].n_q == 12
    assert_like_one_pass(model, written, prompt)


def test_left_padding_does_not_change_the_trace() -> None:
    model, prompt = writer("gpt2"), tokens(1, 6)
    bare = model.generate(inputs={"input_ids": prompt}, max_new_tokens=5)
    padded = model.generate(
        inputs={
            "input_ids": torch.cat([torch.zeros(1, 3, dtype=torch.long), prompt], dim=1),
            "attention_mask": torch.tensor([[0] * 3 + [1] * 6]),
        },
        max_new_tokens=5,
    )
    assert padded.tokens == bare.tokens and padded.start == bare.start + 3
    for layer in (0, 1):
        for head in range(4):
            mine = padded.trace.attention(layer, head).weights()
            theirs = bare.trace.attention(layer, head).weights()
            # the padding's zeros change the order of summation: rounding
            torch.testing.assert_close(mine[3:, 3:], theirs, rtol=0, atol=1e-5)
            assert not mine[3:, :3].any()
    assert bare.trace.logits is not None and padded.trace.logits is not None
    torch.testing.assert_close(padded.trace.logits, bare.trace.logits, rtol=1e-4, atol=1e-4)
    assert all(f.passed for f in padded.trace.fidelity())


def test_a_text_that_outgrows_its_short_rope_factor_is_read_again() -> None:
    """longrope: past the original length transformers drops its cache and reads the text again."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rope = {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4,
            "original_max_position_embeddings": 16,
        }
        config = Phi3Config(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=99, max_position_embeddings=64,
            original_max_position_embeddings=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            rope_parameters=rope,
        )  # fmt: skip
        model = attnviz.wrap(Phi3ForCausalLM(config).eval())
    model.module.generation_config.eos_token_id = None
    prompt = tokens(1, 14)
    keep = ("qkv", "residual", "logits")
    written = model.generate(inputs={"input_ids": prompt}, max_new_tokens=8, keep=keep)
    trace = written.trace
    assert len(trace.tokens) == 22 == trace.residual(0).shape[0]
    assert trace.logits is not None and len(trace.logits) == 22
    assert {layer.n_q for layer in trace.layers} == {22}
    assert_like_one_pass(model, written, prompt)
    assert all(f.passed for f in trace.fidelity())


def test_given_encoder_states_are_read_with_each_token() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            n_layer=2, n_head=4, n_embd=32, vocab_size=99, add_cross_attention=True,
            initializer_range=0.3,
        )  # fmt: skip
        module = GPT2LMHeadModel(config).eval()
    module.generation_config.eos_token_id = None
    model = attnviz.wrap(module)
    states = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(0))
    given = {"input_ids": tokens(1, 5), "encoder_hidden_states": states}
    written = model.generate(inputs=given, max_new_tokens=4)
    ids = torch.tensor([[t.id for t in written.trace.tokens]])
    at_once = model.trace(inputs={**given, "input_ids": ids})
    assert [x.kind for x in written.trace.layers] == ["decoder", "cross"] * 2
    for layer in at_once.layers:
        for head in range(4):
            mine = written.trace.attention(layer.index, head).weights()
            theirs = at_once.attention(layer.index, head).weights()
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-4)
    assert written.trace.logits is not None
    torch.testing.assert_close(written.trace.logits, at_once.logits, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"max_new_tokens": -1}, "cannot be negative"),
        ({"temperature": -0.5}, "sampling settings are invalid"),
        ({"temperature": float("nan")}, "sampling settings are invalid"),
        ({"temperature": 1e-300}, "sampling settings are invalid"),
        ({"temperature": 1.0, "top_p": 0.0}, "sampling settings are invalid"),
        ({"inputs": {"input_ids": tokens(2, 4)}}, "2 texts"),
    ],
)
def test_impossible_generations_raise(how: dict[str, Any], says: str) -> None:
    model = writer("gpt2")
    with pytest.raises(AttnVizError, match=says):
        model.generate(**{"inputs": {"input_ids": tokens(1, 4)}, **how})


def test_continuing_from_a_cache_raises() -> None:
    model = writer("gpt2")
    with torch.no_grad():
        cache = model.module(tokens(1, 4), use_cache=True).past_key_values
    given: dict[str, Any] = {"input_ids": tokens(1, 4), "past_key_values": cache}
    with pytest.raises(AttnVizError, match="not from a cache"):
        model.generate(inputs=given)


def test_a_decoder_without_a_start_token_raises() -> None:
    model = writer("t5")
    model.module.generation_config.update(decoder_start_token_id=None, bos_token_id=None)
    with pytest.raises(AttnVizError, match="no decoder start token"):
        model.generate(inputs={"input_ids": tokens(1, 4)})
