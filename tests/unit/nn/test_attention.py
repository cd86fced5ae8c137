"""The layer: its two paths agree with each other, with the definitions and with PyTorch."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.gpt_oss import modeling_gpt_oss
from transformers.models.t5 import modeling_t5

from attnviz.errors import AttnVizError
from attnviz.nn import AttentionConfig, AttentionSteps, MultiHeadAttention
from attnviz.nn.attention import ATTENTION, explicit_attention, fused_attention
from attnviz.nn.attention_masks import token_positions
from attnviz.nn.position_encoding import rotary_angles, rotate
from tests.unit.nn.layers import calls, head_outputs, perturb_parameters, settings


def inputs(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def single(call: dict[str, Tensor | None]) -> dict[str, Tensor | None]:
    """The same call in float32."""
    return {
        name: given.float() if given is not None and given.is_floating_point() else given
        for name, given in call.items()
    }


def on_both_paths(
    layer: MultiHeadAttention, call: dict[str, Tensor | None]
) -> list[tuple[Tensor, Tensor]]:
    """Concatenated head outputs and the layer's output, fused and explicit."""
    concat = []
    hook = layer.o_proj.register_forward_pre_hook(lambda _, args: concat.append(args[0]))
    with torch.no_grad():
        outputs = [layer(**call, fused=fused)[0] for fused in (True, False)]
    hook.remove()
    return list(zip(concat, outputs, strict=True))


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to 1 or to the largest number if that is more.

    float32 numbers above 4 are 5e-7 apart, so an absolute bound of 1e-6 would test the rounding.
    """
    return float((a - b).abs().max()) / max(1.0, float(a.abs().max()))


@hypothesis_settings(max_examples=200)
@given(data=st.data())
def test_the_explicit_and_the_fused_path_agree(data: st.DataObject) -> None:
    """Head outputs, where the paths differ, in float32; the whole layer in float64.

    A norm after the heads can divide by a small number and so enlarge any rounding before it;
    float64 has the room for that.
    """
    config = data.draw(settings())
    call = data.draw(calls(config.d_model))
    layer = perturb_parameters(MultiHeadAttention(config))
    fused, explicit = on_both_paths(layer, single(call))
    assert difference(fused[0], explicit[0]) <= 1e-6
    fused, explicit = on_both_paths(layer.double(), call)
    assert difference(fused[0], explicit[0]) <= 1e-12
    assert difference(fused[1], explicit[1]) <= 1e-12


@hypothesis_settings(max_examples=100)
@given(data=st.data())
def test_the_paths_agree_in_float32_through_a_whole_layer(data: st.DataObject) -> None:
    """With a residual and some width no norm meets a vector near zero."""
    config = data.draw(settings(d_model=36, d_head=4, residual=True))
    call = data.draw(calls(config.d_model))
    layer = perturb_parameters(MultiHeadAttention(config))
    fused, explicit = on_both_paths(layer, single(call))
    assert difference(fused[1], explicit[1]) <= 1e-6


@hypothesis_settings(max_examples=150)
@given(data=st.data())
def test_every_cell_is_what_the_definitions_give(data: st.DataObject) -> None:
    config = data.draw(settings())
    call = data.draw(calls(config.d_model))
    layer = perturb_parameters(MultiHeadAttention(config)).double()
    with torch.no_grad():
        steps = layer.explain(**call)
        weights, heads = head_outputs(
            layer, steps.q, steps.k, steps.v, call["padding"], call["context"] is not None
        )
        torch.testing.assert_close(steps.weights, weights, rtol=0, atol=1e-12)
        torch.testing.assert_close(steps.heads, heads, rtol=0, atol=1e-12)
        # explain shows what forward does
        output, shown = layer(**call, fused=False)
        assert torch.equal(steps.output, output)
        assert shown is not None
        assert torch.equal(steps.weights, shown)


@hypothesis_settings(max_examples=100)
@given(data=st.data())
def test_every_step_follows_from_those_before(data: st.DataObject) -> None:
    config = data.draw(settings())
    call = data.draw(calls(config.d_model))
    layer = perturb_parameters(MultiHeadAttention(config)).double()
    with torch.no_grad():
        s = layer.explain(**call)

        def close(a: Tensor, b: Tensor) -> None:
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)

        start = s.x if s.embedded is None else s.embedded
        if s.position_vectors is not None:
            close(start, s.x + s.position_vectors)
        entering = start if s.normed is None else s.normed
        if s.normed is not None:
            close(s.normed, layer.norm(start))
        memory = entering if s.context is None else s.context
        width = config.head_dim
        for name, source in (("q", entering), ("k", memory), ("v", memory)):
            projection = getattr(layer, f"{name}_proj")
            joint = source @ projection.weight.T
            if config.bias:
                joint = joint + projection.bias
            made = torch.stack(joint.split(width, dim=-1), dim=1)  # (B, heads, n, d_head)
            if name != "v":
                shown = [getattr(s, f"{name}_projected"), getattr(s, f"{name}_normed")]
                if config.qk_norm:
                    close(shown[0], made)
                    size = (made.square().mean(-1, keepdim=True) + config.norm_eps).sqrt()
                    made = made / size * getattr(layer, f"{name}_norm").weight
                if config.positions == "rope" and s.context is None:
                    close(shown[config.qk_norm], made)
                    n = made.shape[2]
                    places = token_positions(n, n, call["padding"], made.device)
                    made = rotate(made, rotary_angles(places, width, config.rope_theta, made.dtype))
            close(getattr(s, name), made)
        for h in range(config.n_heads):
            close(s.concat[:, :, h * width : (h + 1) * width], s.heads[:, h])
        close(s.scores_scaled, s.scores_raw * config.scaling)
        close(s.projected, layer.o_proj(s.concat))
        y = s.projected
        if config.residual:
            assert s.residual_sum is not None
            close(s.residual_sum, start + s.projected)
            y = s.residual_sum
        if config.norm == "post":
            assert s.post_normed is not None
            close(s.post_normed, layer.norm(y))
            y = s.post_normed
        if s.feed_forward is not None:
            y = s.feed_forward.output
        close(s.output, y)


@given(data=st.data())
@hypothesis_settings(max_examples=100)
def test_stages_hold_every_matrix_with_its_axes(data: st.DataObject) -> None:
    config = data.draw(settings())
    call = data.draw(calls(config.d_model))
    layer = MultiHeadAttention(config).double()
    with torch.no_grad():
        steps = layer.explain(**call)
    names = [stage.name for stage in steps.stages]
    assert len(names) == len(set(names))
    shown = {name.split(".")[0] for name in names}
    unseen = {"config", "sink"}  # the sink's score shows in its weights
    for field in fields(AttentionSteps):
        present = getattr(steps, field.name) is not None
        assert (field.name in shown) == (present and field.name not in unseen), field.name
    sizes = {
        "query": steps.x.shape[1],
        "key": steps.k.shape[2],
        "d_model": config.d_model,
        "d_head": config.head_dim,
        "concat": config.n_heads * config.head_dim,
        "hidden": config.hidden_dim,
        "sink": 1,
    }
    heads = {"query": config.n_heads, "key": config.kv_heads}
    for stage in steps.stages:
        assert stage.value.shape[-2:] == (sizes[stage.rows], sizes[stage.columns]), stage.name
        assert stage.value.ndim == (4 if stage.per_head else 3), stage.name
        if stage.heads is not None:
            assert stage.value.shape[1] == heads[stage.heads], stage.name
        assert stage.title
        assert "\n" not in stage.formula


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_it_equals_torch_multihead_attention(bias: bool, causal: bool, fused: bool) -> None:
    config = AttentionConfig(
        d_model=24,
        n_heads=3,
        bias=bias,
        mask="causal" if causal else "none",
        residual=False,
        norm="none",
    )
    theirs = nn.MultiheadAttention(24, 3, bias=bias, batch_first=True)
    ours = MultiHeadAttention(config)
    with torch.no_grad():
        for name, weight in zip("qkv", theirs.in_proj_weight.chunk(3), strict=True):
            getattr(ours, f"{name}_proj").weight.copy_(weight)
        ours.o_proj.weight.copy_(theirs.out_proj.weight)
        if bias:
            theirs.in_proj_bias.copy_(inputs(72, seed=1))
            theirs.out_proj.bias.copy_(inputs(24, seed=2))
            for name, offset in zip("qkv", theirs.in_proj_bias.chunk(3), strict=True):
                getattr(ours, f"{name}_proj").bias.copy_(offset)
            ours.o_proj.bias.copy_(theirs.out_proj.bias)
        x, context = inputs(2, 6, 24), inputs(2, 6, 24, seed=3)
        padding = torch.tensor([[1] * 6, [1, 1, 1, 1, 0, 0]])
        hidden = torch.ones(6, 6).triu(1).bool() if causal else None
        for other in (None, context):
            expected, weights = theirs(
                x,
                x if other is None else other,
                x if other is None else other,
                key_padding_mask=padding == 0,
                attn_mask=hidden if other is None else None,
                average_attn_weights=False,
            )
            output, own_weights = ours(x, other, padding, fused=fused)
            torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)
            if own_weights is not None:
                torch.testing.assert_close(own_weights, weights, rtol=0, atol=1e-6)


def test_softcap_sinks_and_bias_follow_the_models_they_come_from() -> None:
    """Same arguments, same result as the eager functions of Gemma 2, gpt-oss and T5."""
    config = AttentionConfig(d_model=24, n_heads=6, n_kv_heads=3, sink=True)
    layer = perturb_parameters(MultiHeadAttention(config)).eval()
    q, k, v = inputs(2, 6, 5, 4), inputs(2, 3, 5, 4, seed=1), inputs(2, 3, 5, 4, seed=2)
    mask = torch.zeros(5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)[None, None]
    bias = inputs(1, 6, 5, 5, seed=3)
    with torch.no_grad():
        pairs = [
            (
                modeling_gemma2.eager_attention_forward(
                    layer, q, k, v, mask, scaling=0.8, softcap=2.0
                ),
                explicit_attention(layer, q, k, v, mask, scaling=0.8, softcap=2.0),
            ),
            (
                modeling_gpt_oss.eager_attention_forward(layer, q, k, v, mask, scaling=0.8),
                explicit_attention(layer, q, k, v, mask, scaling=0.8, s_aux=layer.sinks),
            ),
            (
                modeling_t5.eager_attention_forward(
                    layer, q[:, :3], k, v, mask, scaling=0.8, position_bias=bias[:, :3]
                ),
                explicit_attention(
                    layer, q[:, :3], k, v, mask, scaling=0.8, position_bias=bias[:, :3]
                ),
            ),
        ]
    for theirs, ours in pairs:
        torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_q", [1, 5])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_the_fused_path_is_transformers_own(n_q: int, masked: bool, biased: bool) -> None:
    """Our function is used for our layers alone, and gives the same as transformers' own."""
    layer = MultiHeadAttention(AttentionConfig(d_model=24, n_heads=6, n_kv_heads=3))
    q, k, v = inputs(2, 6, n_q, 4), inputs(2, 3, 5, 4, seed=1), inputs(2, 3, 5, 4, seed=2)
    hidden = torch.ones(n_q, 5).triu(1).bool()
    mask = torch.zeros(1, 1, n_q, 5).masked_fill(hidden, -torch.inf) if masked else None
    bias = {"position_bias": inputs(1, 6, n_q, 5, seed=3)} if biased else {}
    assert ATTENTION["sdpa"] is fused_attention
    theirs = ALL_ATTENTION_FUNCTIONS["sdpa"]
    assert theirs is not fused_attention
    for causal in (False, not biased):
        expected, _ = theirs(layer, q, k, v, mask, scaling=0.8, is_causal=causal, **bias)
        heads, _ = fused_attention(layer, q, k, v, mask, scaling=0.8, is_causal=causal, **bias)
        torch.testing.assert_close(heads, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("positions", ["none", "rope", "alibi"])
def test_a_query_that_sees_nothing_gets_zeros(fused: bool, positions: str) -> None:
    config = AttentionConfig(
        d_model=16, n_heads=2, mask="causal", positions=positions, residual=False, norm="none"
    )
    layer = MultiHeadAttention(config)
    x = inputs(2, 4, 16).requires_grad_()
    padding = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0]])
    output, weights = layer(x, padding=padding, fused=fused)
    assert torch.equal(output[0, :2], layer.o_proj.bias.expand(2, 16))
    assert torch.equal(output[1], layer.o_proj.bias.expand(4, 16))
    if weights is not None:
        assert not bool(weights[1].any())
    output.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert bool(layer.q_proj.weight.grad.isfinite().all())


def test_a_sink_takes_weight_and_gives_nothing() -> None:
    layer = MultiHeadAttention(AttentionConfig(d_model=16, n_heads=2, sink=True))
    layer.requires_grad_(False)
    steps = layer.explain(inputs(1, 4, 16))
    assert steps.sink_weights is not None
    total = steps.weights.sum(-1) + steps.sink_weights
    torch.testing.assert_close(total, torch.ones_like(total))
    assert float(steps.weights.sum(-1).max()) < 0.99
    hidden = layer.explain(inputs(1, 4, 16), padding=torch.zeros(1, 4))
    assert float(hidden.weights.abs().max()) == 0
    assert hidden.sink_weights is not None
    assert float(hidden.sink_weights.min()) == 1


def test_dropout_acts_on_the_weights_alone_and_repeats_when_explained() -> None:
    layer = MultiHeadAttention(AttentionConfig(d_model=32, n_heads=4, dropout=0.5, seed=3))
    x = inputs(1, 12, 32)
    calm = layer.eval().explain(x)
    assert calm.weights_dropped is None
    state = torch.get_rng_state()
    layer.train()
    first, second = layer.explain(x), layer.explain(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.output, second.output)
    for name in ("q", "k", "v", "scores", "weights"):
        assert torch.equal(getattr(first, name), getattr(calm, name))
    assert first.weights_dropped is not None
    kept = first.weights_dropped != 0
    assert 0.35 < float(kept.float().mean()) < 0.65  # 576 fair coins: 7 standard deviations
    torch.testing.assert_close(first.weights_dropped[kept], first.weights[kept] * 2)


@pytest.mark.parametrize("fused", [True, False])
def test_dropout_in_training_keeps_the_mean(fused: bool) -> None:
    config = AttentionConfig(d_model=16, n_heads=2, dropout=0.3, residual=False, norm="none")
    layer = MultiHeadAttention(config, fused=fused)
    x = inputs(1, 6, 16)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        many, _ = layer.train()(x.expand(4000, -1, -1))
        once, _ = layer.eval()(x)
    assert float((many[0] - many[1]).abs().max()) > 0.01
    # the deviation of one draw is about 0.2, of the mean of 4,000 about 0.003
    torch.testing.assert_close(many.mean(0), once[0], rtol=0, atol=0.03)


def test_weights_come_from_the_seed_and_leave_global_randomness_alone() -> None:
    state = torch.get_rng_state()
    config = AttentionConfig(positions="learned", feed_forward=True, seed=7)
    layer = MultiHeadAttention(config)
    assert torch.equal(torch.get_rng_state(), state)
    again = MultiHeadAttention(config).state_dict()
    assert all(torch.equal(again[name], value) for name, value in layer.state_dict().items())
    other = MultiHeadAttention(replace(config, seed=8))
    assert not torch.equal(other.q_proj.weight, layer.q_proj.weight)
    assert not torch.equal(layer.k_proj.weight, layer.q_proj.weight)
    assert float(layer.q_proj.weight.detach().std()) == pytest.approx(64**-0.5, rel=0.05)


def test_turning_one_option_leaves_the_other_weights_as_they_were() -> None:
    plain = MultiHeadAttention(AttentionConfig(n_kv_heads=2)).state_dict()
    richer = MultiHeadAttention(
        AttentionConfig(n_kv_heads=2, qk_norm=True, sink=True, feed_forward=True, positions="t5")
    ).state_dict()
    assert set(plain) < set(richer)
    assert all(torch.equal(richer[name], value) for name, value in plain.items())


def test_key_value_heads_serve_neighbouring_query_heads() -> None:
    layer = MultiHeadAttention(AttentionConfig(d_model=24, n_heads=6, n_kv_heads=2))
    steps = layer.explain(inputs(1, 5, 24))
    for head in range(6):
        torch.testing.assert_close(
            steps.scores_raw[0, head], steps.q[0, head] @ steps.k[0, head // 3].T
        )


def test_values_may_be_wider_than_keys() -> None:
    q, k, v = inputs(1, 2, 3, 4), inputs(1, 2, 5, 4), inputs(1, 2, 5, 7)
    for attention in (explicit_attention, fused_attention):
        heads, _ = attention(nn.Identity(), q, k, v, None, scaling=0.5)
        assert heads.transpose(1, 2).shape == (1, 2, 3, 7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("positions", ["sinusoidal", "rope", "alibi", "t5"])
def test_half_precision_works_on_both_paths(dtype: torch.dtype, positions: str) -> None:
    config = AttentionConfig(d_model=16, n_heads=2, mask="causal", positions=positions)
    layer = MultiHeadAttention(config)
    x = inputs(1, 6, 16)
    exact, _ = layer(x)
    layer.to(dtype)
    for fused in (True, False):
        output, _ = layer(x.to(dtype), fused=fused)
        assert output.dtype == dtype
        # bfloat16 keeps 8 bits: 2^-8 of a number of size 3, a few times over
        torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("x", "context", "padding"),
    [
        (torch.zeros(5, 64), None, None),
        (torch.zeros(1, 5, 32), None, None),
        (torch.zeros(1, 5, 64), torch.zeros(1, 5, 32), None),
        (torch.zeros(1, 5, 64), None, torch.ones(1, 4)),
        (torch.zeros(1, 5, 64), torch.zeros(1, 3, 64), torch.ones(1, 5)),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    x: Tensor, context: Tensor | None, padding: Tensor | None
) -> None:
    with pytest.raises(AttnVizError, match="has shape"):
        MultiHeadAttention(AttentionConfig())(x, context, padding)
