"""A trace agrees with transformers, bit for bit or within rounding."""

from __future__ import annotations

import pytest
import torch

import attnviz
from attnviz import AttnVizError
from attnviz.trace import Trace
from tests.unit.trace.models import BUILD, N, build, eager_weights, inputs, tokens

DENSE = {"gptj", "bloom"}


def assert_like_eager(trace: Trace, name: str, given: dict[str, torch.Tensor]) -> None:
    for kind, layers in eager_weights(name, given).items():
        assert len(layers) == sum(kind in (None, x.kind) for x in trace.layers)
        for i, truth in enumerate(layers):
            B, H, _, _ = truth.shape
            for b in range(B):
                for h in range(H):
                    mine = trace.attention(i, h, kind=kind, item=b).weights()
                    torch.testing.assert_close(mine, truth[b, h], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BUILD)
def test_weights_equal_the_eager_path(name: str) -> None:
    given = inputs(name)
    trace = attnviz.wrap(build(name)).trace(inputs=given)
    assert {x.source for x in trace.layers} == {"dense" if name in DENSE else "exact"}
    assert_like_eager(trace, name, given)


@pytest.mark.parametrize("name", BUILD)
def test_recording_changes_no_bit_of_the_logits(name: str) -> None:
    module, given = build(name), inputs(name)
    with torch.no_grad():
        plain = module(**given).logits
    trace = attnviz.wrap(module).trace(inputs=given, keep=("qkv", "residual", "logits"))
    assert trace.logits is not None
    assert torch.equal(trace.logits, plain[0])


@pytest.mark.parametrize("name", BUILD)
def test_the_receipt_passes_with_its_error(name: str) -> None:
    model, given = attnviz.wrap(build(name)), inputs(name)
    trace = model.trace(inputs=given)
    for f in trace.fidelity():
        assert f.passed
        assert 0 <= f.error <= f.tolerance
    # the outputs of the same pass equal those of a second one
    kept = model.trace(inputs=given, keep=("qkv", "output"))
    assert kept.fidelity() == trace.fidelity()
    assert kept.fidelity(1) == model.trace(inputs=given).fidelity(1)
    assert kept.nbytes > 0


def test_the_receipt_fails_if_the_model_has_changed() -> None:
    module = build("llama")
    trace = attnviz.wrap(module).trace(inputs=inputs("llama"))
    with torch.no_grad():
        module.model.layers[0].self_attn.v_proj.weight.mul_(1.5)
    assert not trace.fidelity(0).passed


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral", "gemma2", "bert", "bloom"])
@pytest.mark.parametrize("padding", ["left", "right"])
def test_padding_rows_and_columns(name: str, padding: str) -> None:
    given = inputs(name)
    mask = torch.ones(2, N, dtype=torch.long)
    mask[1, slice(0, 5) if padding == "left" else slice(N - 5, N)] = 0
    given["attention_mask"] = mask
    trace = attnviz.wrap(build(name)).trace(inputs=given)
    assert all(f.passed for f in trace.fidelity())
    real = mask[1].bool()
    for kind, layers in eager_weights(name, given).items():
        for i, truth in enumerate(layers):
            a = trace.attention(i, 1, kind=kind, item=1)
            # rows of padding have no meaning: there eager and fused paths differ by design
            torch.testing.assert_close(a.weights()[real], truth[1, 1][real], rtol=0, atol=1e-5)
            assert not a.weights()[real][:, ~real].any()
            assert torch.isneginf(a.scores()[real][:, ~real]).all()


def test_a_rows_weights_and_scores_belong_together() -> None:
    trace = attnviz.wrap(build("mistral")).trace(inputs=inputs("mistral"))
    a = trace.attention(1, 3)
    torch.testing.assert_close(torch.softmax(a.scores(), -1), a.weights())
    i = torch.arange(N)
    visible = (i[None] <= i[:, None]) & (i[None] > i[:, None] - 4)
    assert torch.equal(torch.isneginf(a.scores()), ~visible)
    by_hand = a.q @ a.k.T * a.scaling
    torch.testing.assert_close(a.scores()[visible], by_hand[visible])
    torch.testing.assert_close(a.output(), a.weights() @ a.v)


def test_sinks_leave_rows_that_sum_to_less_than_one() -> None:
    trace = attnviz.wrap(build("gpt_oss")).trace(inputs=inputs("gpt_oss"))
    sums = trace.attention(0, 0).weights().sum(-1)
    assert bool((sums <= 1 + 1e-6).all()) and bool((sums > 0).all()) and float(sums.min()) < 0.99


def test_values_of_another_size_than_queries() -> None:
    a = attnviz.wrap(build("deepseek_v3")).trace(inputs=inputs("deepseek_v3")).attention(0, 1)
    assert a.q.shape == (N, 12) and a.v.shape == (N, 6) and a.output().shape == (N, 6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_formats(dtype: torch.dtype) -> None:
    trace = attnviz.wrap(build("llama").to(dtype)).trace(inputs=inputs("llama"))
    assert {x.source for x in trace.layers} == {"exact"}
    assert all(f.passed for f in trace.fidelity())


def test_the_residual_stream_equals_hidden_states() -> None:
    module, given = build("llama"), inputs("llama")
    with torch.no_grad():
        hidden = module(**given, output_hidden_states=True).hidden_states
    trace = attnviz.wrap(module).trace(inputs=given)
    assert trace.n_residuals() == len(hidden) == 3
    for i in range(2):  # transformers' last hidden state has gone through the final norm
        assert torch.equal(trace.residual(i), hidden[i][0])
    # the norm of one item, where the model's was of two: another layout, so within rounding
    torch.testing.assert_close(module.model.norm(trace.residual(-1)), hidden[-1][0])


def test_encoder_and_decoder_have_their_own_streams_and_tokens() -> None:
    trace = attnviz.wrap(build("t5")).trace(inputs=inputs("t5"))
    assert trace.residual(0, kind="encoder").shape == (N, 32)
    assert trace.residual(0).shape == (N - 5, 32)
    kinds = [x.kind for x in trace.layers]
    assert kinds == ["encoder", "encoder", "decoder", "cross", "decoder", "cross"]
    cross = kinds.index("cross")
    assert len(trace.row_tokens(cross)) == N - 5 and len(trace.col_tokens(cross)) == N
    assert len(trace.col_tokens(cross - 1)) == N - 5


def test_only_the_last_logits_are_kept_by_default() -> None:
    module, given = build("gpt2"), inputs("gpt2")
    with torch.no_grad():
        plain = module(**given, logits_to_keep=1).logits
    trace = attnviz.wrap(module).trace(inputs=given)
    assert trace.logits is not None and torch.equal(trace.logits, plain[0])
    best = trace.predictions(k=3)
    probabilities = plain[0, -1].softmax(-1)
    assert best[0].id == int(probabilities.argmax())
    assert best[0].probability == pytest.approx(float(probabilities.max()))
    with pytest.raises(AttnVizError, match="logits"):
        trace.predictions(position=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.attention(9, 0), "no layer 9"),
        (lambda t: t.attention(0, 4), "no head 4"),
        (lambda t: t.attention(0, 0, item=2), "no item 2"),
        (lambda t: t.attention(0, 0).weights(rows=slice(0, 4, 2)), "without a step"),
        (lambda t: t.residual(7), "no residual 7"),
    ],
)
def test_missing_layers_heads_and_streams_raise(call, message) -> None:  # type: ignore[no-untyped-def]
    trace = attnviz.wrap(build("gpt2")).trace(inputs=inputs("gpt2"))
    with pytest.raises(AttnVizError, match=message):
        call(trace)


def test_bad_requests_to_the_model() -> None:
    model = attnviz.wrap(build("gpt2"))
    with pytest.raises(AttnVizError, match="nothing to trace"):
        model.trace()
    with pytest.raises(AttnVizError, match="tokenizer"):
        model.trace("words")
    with pytest.raises(AttnVizError, match="keep"):
        model.trace(inputs=inputs("gpt2"), keep=("everything",))
    with pytest.raises(AttnVizError, match="cannot generate"):
        attnviz.wrap(build("bert")).generate(inputs={"input_ids": tokens(1, 4)})


@pytest.mark.parametrize("shape", [(1, 0), (0, 4)])
@pytest.mark.parametrize("act", ["trace", "generate"])
def test_inputs_without_a_token_raise(act: str, shape: tuple[int, int]) -> None:
    model = attnviz.wrap(build("llama"))
    with pytest.raises(AttnVizError, match="no token"):
        getattr(model, act)(inputs={"input_ids": torch.zeros(shape, dtype=torch.long)})


@pytest.mark.parametrize("name", ["llama", "t5", "bert"])
def test_layers_are_counted_as_they_run_and_a_trace_can_be_ended_between_them(name: str) -> None:
    """What ended it leaves no trace in the model: the next one is whole."""
    model, given = attnviz.wrap(build(name)), inputs(name)
    counted: list[int] = []
    whole = model.trace(inputs=given, on_layer=counted.append)
    assert counted == list(range(1, len(whole.layers) + 1))

    class Ended(Exception):
        pass

    def end(n_layers: int) -> None:
        if n_layers == 2:
            raise Ended

    with pytest.raises(Ended):
        model.trace(inputs=given, on_layer=end)
    again = model.trace(inputs=given)
    assert len(again.layers) == len(whole.layers)
    for a, b in zip(whole.layers, again.layers, strict=True):
        assert (a.index, a.kind, a.source) == (b.index, b.kind, b.source)
    torch.testing.assert_close(again.attention(1, 0).q, whole.attention(1, 0).q)
