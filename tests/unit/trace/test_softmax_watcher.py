"""Attention that modules compute in their own code: only what becomes their output counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

import attnviz
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from tests.tiny_models import TYPES
from tests.tiny_models import build as tiny
from tests.unit.trace.models import VOCABULARY, N, build, inputs, tokens

_SMALL = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
_WINDOWED = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64,
    "patch_size": 8, "window_size": 3, "global_attn_indexes": [1], "mlp_dim": 64,
    "output_channels": 16,
}  # fmt: skip
IMAGE = {"pixel_values": torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}


def drawn(module: PreTrainedModel) -> PreTrainedModel:
    """In eval mode, with weights that attend unevenly."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            scale = 0.15 if p.ndim > 1 else 0.5
            p.copy_(torch.randn(p.shape, generator=generator) * scale + (p.ndim == 1))
    return module.eval()


def nystromformer(landmarks: int) -> PreTrainedModel:
    config = hf.NystromformerConfig(
        vocab_size=VOCABULARY, num_hidden_layers=2, num_landmarks=landmarks,
        segment_means_seq_len=N, conv_kernel_size=3, **_SMALL,
    )  # fmt: skip
    return drawn(hf.NystromformerForMaskedLM(config))


def vits() -> PreTrainedModel:
    config = hf.VitsConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4, num_hidden_layers=2,
        ffn_dim=64, flow_size=32, spectrogram_bins=17, depth_separable_num_layers=1,
        duration_predictor_num_flows=1, prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1, upsample_initial_channel=32, upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 1]],
    )  # fmt: skip
    torch.manual_seed(0)
    return hf.VitsModel(config).eval()


def got_ocr2() -> PreTrainedModel:
    text = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64, "vocab_size": VOCABULARY,
    }  # fmt: skip
    config = hf.GotOcr2Config(vision_config=_WINDOWED, text_config=text)
    return drawn(hf.GotOcr2ForConditionalGeneration(config).model.vision_tower)


def vitdet() -> PreTrainedModel:
    config = hf.VitDetConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=6, image_size=64, patch_size=8,
        pretrain_image_size=64, window_size=3, window_block_indices=[0], mlp_ratio=2,
    )  # fmt: skip
    return drawn(hf.VitDetModel(config))


def sam(implementation: str) -> PreTrainedModel:
    config = hf.SamVisionConfig(**_WINDOWED)
    return drawn(hf.SamVisionModel._from_config(config, attn_implementation=implementation))


class Softmaxes(TorchFunctionMode):
    """All softmaxes of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (F.softmax, torch.softmax, Tensor.softmax) and result.ndim >= 3:
            self.results.append(result)
        return result


def softmaxes(module: PreTrainedModel, given: dict[str, Tensor]) -> list[Tensor]:
    with torch.no_grad(), Softmaxes() as seen:
        module(**given)
    return seen.results


def all_weights(trace: Trace, index: int) -> Tensor:
    """(items, H, n_q, n_k)."""
    layer = trace.layers[index]
    return torch.stack(
        [
            torch.stack([trace.attention(index, h, item=i).weights() for h in range(layer.n_heads)])
            for i in range(layer.n_items)
        ]
    )


def test_a_step_of_a_pseudo_inverse_is_not_attention() -> None:
    trace = attnviz.wrap(nystromformer(landmarks=4)).trace(inputs={"input_ids": tokens(2, N)})
    assert [x.source for x in trace.layers] == ["refused", "refused"]
    assert all("returns" in x.reason for x in trace.layers)
    assert not any(f.passed for f in trace.fidelity())


@pytest.mark.parametrize("build_one", [lambda: nystromformer(landmarks=N), vits])
def test_tensors_added_to_the_output_in_place_are_subtracted(build_one: Any) -> None:
    """A convolution of the values, and values of relative positions."""
    module, given = build_one(), {"input_ids": tokens(1, N)}
    trace = attnviz.wrap(module).trace(inputs=given)
    truth = softmaxes(module, given)
    assert len(trace.layers) == 2
    for i in range(2):
        torch.testing.assert_close(all_weights(trace, i), truth[i].view(1, -1, N, N))
    assert all(f.passed for f in trace.fidelity())


@pytest.mark.parametrize(
    ("build_one", "heads", "windows"),
    [(got_ocr2, 4, 9), (vitdet, 6, 9), (lambda: sam("eager"), 4, 9), (lambda: sam("sdpa"), 4, 9)],
    ids=["got_ocr2", "vitdet", "sam eager", "sam sdpa"],
)
def test_windows_are_not_heads(build_one: Any, heads: int, windows: int) -> None:
    trace = attnviz.wrap(build_one()).trace(inputs=IMAGE)
    assert [(x.n_heads, x.n_items, x.n_q) for x in trace.layers] == [
        (heads, 2 * windows, 9),
        (heads, 2, 64),
    ]
    assert all(f.passed for f in trace.fidelity())


def test_the_heads_of_a_window_are_its_own() -> None:
    """A window's weights come from that window: the same for an image's second copy."""
    module = vitdet()
    image = IMAGE["pixel_values"][:1]
    trace = attnviz.wrap(module).trace(inputs={"pixel_values": image.repeat(2, 1, 1, 1)})
    whole = all_weights(trace, 0)  # (2 * 9, 6, 9, 9)
    torch.testing.assert_close(whole[:9], whole[9:])
    truth = softmaxes(module, {"pixel_values": image})[0]  # (9 * 6, 9, 9)
    torch.testing.assert_close(whole[:9], truth.view(9, 6, 9, 9))


class _Own(nn.Module):
    """Attention in its own code, whose output is what `hands_on` returns."""

    def __init__(self, hands_on: Any) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(32, 32) for _ in range(4))
        self.hands_on = hands_on

    def forward(self, x: Tensor) -> Tensor:
        B, n, _ = x.shape
        q, k, v = (p(x).view(B, n, 4, 8).transpose(1, 2) for p in (self.q, self.k, self.v))
        weights = torch.softmax(q @ k.transpose(-1, -2) * 2.0, dim=-1)
        return self.o(self.hands_on(weights, v).transpose(1, 2).reshape(B, n, 32))


class _OwnModel(PreTrainedModel):
    config_class = hf.BertConfig

    def __init__(self, hands_on: Any) -> None:
        super().__init__(hf.BertConfig(vocab_size=VOCABULARY, **_SMALL))
        self.embed = nn.Embedding(VOCABULARY, 32)
        self.layers = nn.ModuleList([_OwnAttention(hands_on)])

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.layers[0](self.embed(input_ids))


class _OwnAttention(_Own):
    pass


def own(hands_on: Any) -> Trace:
    torch.manual_seed(0)
    return attnviz.wrap(_OwnModel(hands_on).eval()).trace(inputs={"input_ids": tokens(2, N)})


def test_only_products_that_reach_the_projection_are_attention() -> None:
    def doubled(w: Tensor, v: Tensor) -> Tensor:
        return (w @ v).mul_(2)  # in place, not tracked

    def thrown_away(w: Tensor, v: Tensor) -> Tensor:
        return torch.tanh(w @ v) * 0 + v

    def first(w: Tensor, v: Tensor) -> Tensor:
        return w @ v

    assert own(first).fidelity(0).passed
    assert not own(doubled).fidelity(0).passed
    trace = own(thrown_away)
    assert trace.layers[0].source == "refused" and not trace.fidelity(0).passed


@pytest.mark.parametrize("cut", [1, 4])
def test_weights_of_some_keys_are_refused_if_others_contribute(cut: int) -> None:
    trace = own(lambda w, v: w[..., :cut] @ v[..., :cut, :] + w[..., cut:] @ v[..., cut:, :])
    assert trace.layers[0].source == "refused"


def test_a_row_without_any_key_does_not_pass() -> None:
    def hide(w: Tensor, v: Tensor) -> Tensor:
        hidden = torch.zeros(N, 1, dtype=torch.bool).index_fill(0, torch.tensor([3]), True)
        return torch.where(hidden, torch.nan, w) @ v

    trace = own(hide)
    assert not any(f.passed for f in trace.fidelity())


def test_a_module_that_runs_twice_is_two_layers() -> None:
    config = hf.LxmertConfig(
        vocab_size=VOCABULARY, l_layers=1, x_layers=2, r_layers=1, visual_feat_dim=8,
        visual_pos_dim=4, **_SMALL,
    )  # fmt: skip
    module = drawn(hf.LxmertModel(config))
    given = {
        "input_ids": tokens(2, N), "visual_feats": torch.ones(2, 5, 8).cumsum(1),
        "visual_pos": torch.ones(2, 5, 4).cumsum(1) / 5,
    }  # fmt: skip
    trace = attnviz.wrap(module).trace(inputs=given)
    truth = softmaxes(module, given)
    assert len(trace.layers) == len(truth) == 10
    for i, weights in enumerate(truth):
        assert trace.layers[i].source == "dense"
        torch.testing.assert_close(all_weights(trace, i), weights)
    assert all(f.passed for f in trace.fidelity())


def test_a_module_list_may_contain_none() -> None:
    """Informer's list of convolutions ends with a None."""
    config = hf.InformerConfig(
        prediction_length=4, context_length=12, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, lags_sequence=[1], distil=True,
        num_time_features=1,
    )  # fmt: skip
    given = {
        "past_values": torch.ones(1, 13).cumsum(1), "past_observed_mask": torch.ones(1, 13),
        "past_time_features": torch.ones(1, 13, 1), "future_values": torch.ones(1, 4),
        "future_time_features": torch.ones(1, 4, 1),
    }  # fmt: skip
    module = drawn(hf.InformerModel(config))
    assert None in list(module.encoder.conv_layers)
    trace = attnviz.wrap(module).trace(inputs=given)
    assert len(trace.layers) == 6


@pytest.mark.parametrize("how", ["whole", "part", "wrapped part"])
def test_tracing_a_compiled_model_raises(how: str) -> None:
    module, given = build("gptj"), inputs("gptj")
    blocks = module.transformer.h
    if how == "wrapped part":
        blocks[0].attn = torch.compile(blocks[0].attn, backend="eager")
    else:
        (module if how == "whole" else blocks[0]).compile(backend="eager")
    with pytest.raises(AttnVizError, match="compiled"):
        attnviz.wrap(module).trace(inputs=given)


def test_a_compiler_sees_through_the_attention_interface() -> None:
    module, given = build("llama"), inputs("llama")
    with torch.no_grad():
        plain = module(**given).logits
        module.compile(backend="eager", fullgraph=True)
        torch.testing.assert_close(module(**given).logits, plain)


@pytest.mark.parametrize("inner", ["gptj", "llama"])
def test_a_forward_that_traces_another_model(inner: str) -> None:
    outer, other = build("gptj"), attnviz.wrap(build(inner))
    given = inputs("gptj")
    alone = attnviz.wrap(outer).trace(inputs=given)
    seen: list[Trace] = []
    forward = outer.transformer.h[1].attn.out_proj.forward

    def tracing(x: Tensor) -> Tensor:
        seen.append(other.trace(inputs=inputs(inner)))
        return forward(x)

    outer.transformer.h[1].attn.out_proj.forward = tracing
    trace = attnviz.wrap(outer).trace(inputs=given)
    assert [x.name for x in trace.layers] == [x.name for x in alone.layers]
    for i in range(2):
        assert torch.equal(all_weights(trace, i), all_weights(alone, i))
    expected = other.trace(inputs=inputs(inner))
    assert [x.name for x in seen[0].layers] == [x.name for x in expected.layers]
    assert trace.n_residuals() == alone.n_residuals()


def siglip() -> tuple[PreTrainedModel, dict[str, Tensor]]:
    """Its pooling head is a torch.nn.MultiheadAttention."""
    return tiny(next(t for t in TYPES if t.model_type == "siglip_vision_model"))


def test_torchs_multihead_attention_is_checked_by_its_heads_outputs() -> None:
    module, given = siglip()
    attention = module.head.attention
    results: list[Tensor] = []
    handle = attention.register_forward_hook(lambda m, args, out: results.append(out[0]))
    trace = attnviz.wrap(module).trace(inputs=given)
    handle.remove()
    pooling = next(x for x in trace.layers if x.source == "dense")
    receipt = trace.fidelity(pooling.index)
    assert receipt.passed and receipt.rows == receipt.total_rows > 0
    for item, result in enumerate(results[0]):
        heads = [trace.attention(pooling.index, h, item=item).output() for h in range(4)]
        projected = attention.out_proj(torch.cat(heads, dim=-1))
        torch.testing.assert_close(projected, result, rtol=0, atol=1e-5)


def test_recording_uses_no_random_numbers() -> None:
    module, given = siglip()
    module.head.attention.dropout = 0.5
    module.train()
    with torch.no_grad():
        torch.manual_seed(3)
        plain = module(**given).pooler_output
        after = torch.rand(1)
        torch.manual_seed(3)
        seen: list[Tensor] = []
        handle = module.register_forward_hook(lambda m, a, out: seen.append(out.pooler_output))
        attnviz.wrap(module).trace(inputs=given)
        handle.remove()
    assert torch.equal(seen[0], plain)
    assert torch.equal(torch.rand(1), after)


def test_a_dense_grouped_query_layer_shows_its_keys() -> None:
    """A function whose arguments are not enough: only its weights are known."""

    def eager(module, query, key, value, mask, scaling=None, **_):  # type: ignore[no-untyped-def]
        group = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(group, 1) for t in (key, value))
        weights = torch.softmax((query @ key.transpose(2, 3) * 0.7).tanh(), -1)
        return (weights @ value).transpose(1, 2), weights

    hf.AttentionInterface.register("test_tanh", eager)
    try:
        module = build("llama")
        module.config._attn_implementation = "test_tanh"
        trace = attnviz.wrap(module).trace(inputs=inputs("llama"))
        assert {(x.source, x.n_heads, x.n_kv_heads) for x in trace.layers} == {("dense", 4, 2)}
        for h in range(4):
            a = trace.attention(1, h)
            again = torch.softmax((a.q @ a.k.T * 0.7).tanh(), -1)
            torch.testing.assert_close(a.weights(), again)
            torch.testing.assert_close(a.output(), again @ a.v)
        assert all(f.passed for f in trace.fidelity())
    finally:
        del hf.AttentionInterface._global_mapping["test_tanh"]
