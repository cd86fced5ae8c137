"""A model's head, step by step, against transformers' own modules: weights, outputs, parameters."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import attnviz
from attnviz.analysis.cell_steps import cell_steps
from attnviz.analysis.head_projections import is_linear
from attnviz.analysis.real_head import MAX_TOKENS, RealHead, real_head
from attnviz.errors import AttnVizError
from attnviz.trace import Trace
from tests.tiny_models import TYPES, build
from tests.tiny_models.truth import eager_weights, run

TYPE = {tiny.name: tiny for tiny in TYPES}
# Sums of float32 products in another order, of numbers up to about 10.
ROUNDING = 1e-5

# What is special about each: how it lays out its projections, its positions, its scores.
FAMILIES = {
    "gpt2/GPT2LMHeadModel": "Q, K and V in one matrix, transposed; learned positions",
    "bert/BertForMaskedLM": "the norm comes after",
    "llama/LlamaForCausalLM": "RoPE",
    "mistral/MistralForCausalLM": "shared key/value heads, a sliding window",
    "gemma2/Gemma2ForCausalLM": "softcap, sliding windows",
    "gemma3_text/Gemma3ForCausalLM": "QK-norm",
    "qwen3/Qwen3ForCausalLM": "QK-norm",
    "gpt_oss/GptOssForCausalLM": "sinks; RoPE's angles given once",
    "t5/T5ForConditionalGeneration": "a bias for each distance, no scale, cross-attention",
    "bart/BartForConditionalGeneration": "cross-attention after a norm",
    "gpt_neox/GPTNeoXForCausalLM": "Q, K and V of a head side by side; RoPE of some dimensions",
    "glm/GlmForCausalLM": "RoPE pairs neighbors",
    "opt/OPTForCausalLM": "queries are scaled before the product",
    "phi3/Phi3ForCausalLM": "one matrix for Q, K and V",
    "falcon/FalconForCausalLM": "attention beside the feed-forward",
    "vit/ViTForImageClassification": "an image",
}


@cache
def traced(name: str) -> tuple[PreTrainedModel, Trace, dict[str, Tensor]]:
    """The model, its trace, and what each of its modules returned for the same input."""
    module, inputs = build(TYPE[name])
    returned: dict[str, Tensor] = {}

    def keep(path: str) -> object:
        def hook(_: nn.Module, __: object, out: object) -> None:
            first = out[0] if isinstance(out, tuple) else out
            if isinstance(first, Tensor):
                returned[path] = first.detach()

        return hook

    handles = [m.register_forward_hook(keep(path)) for path, m in module.named_modules()]
    run(module, inputs)
    for handle in handles:
        handle.remove()
    return module, attnviz.wrap(module).trace(inputs=inputs), returned


def heads_of(name: str) -> list[tuple[int, int]]:
    """The first and the last head of each layer."""
    return [(x.index, h) for x in traced(name)[1].layers for h in (0, x.n_heads - 1)]


@cache
def truth(name: str) -> dict[str, list[Tensor]]:
    return eager_weights(TYPE[name])


def eager(name: str, trace: Trace, layer: int) -> Tensor:
    """(B, H, n_q, n_k): what the eager model says its weights are."""
    kind = trace.layers[layer].kind
    weights = truth(name).get(kind) or truth(name)[""]
    return weights[sum(other.kind == kind for other in trace.layers[:layer])]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_steps_end_in_the_models_own_weights_and_outputs(name: str) -> None:
    _, trace, _ = traced(name)
    for layer, head in heads_of(name):
        for item in range(2):  # the second text is padded
            steps = real_head(trace, layer, head, item).steps
            ours, theirs = steps.weights[0, 0], eager(name, trace, layer)[item, head]
            attended = theirs.sum(dim=-1) > 0.5 if steps.mask is None else steps.mask[0, 0].any(-1)
            assert (ours - theirs)[attended].abs().max() < ROUNDING, (layer, head, item)
            a = trace.attention(layer, head, item=item)
            assert (steps.heads[0, 0] - a.output()).abs().max() < ROUNDING
            assert (steps.q[0, 0] @ steps.k[0, 0].T - steps.scores_raw[0, 0]).abs().max() < 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_the_heads_together_are_the_attention_modules_output(name: str) -> None:
    """Each head's output times its rows of W_O, and the bias, is what the module returned."""
    module, trace, returned = traced(name)
    for layer in trace.layers[:1] + trace.layers[-1:]:
        heads = [real_head(trace, layer.index, h) for h in range(layer.n_heads)]
        assert not heads[0].missing
        total = sum(one.steps.contribution[0] for one in heads)
        projected = heads[0].steps.projected[0]
        bias = projected - total
        assert (bias - bias[:1]).abs().max() < ROUNDING  # the same for each token
        linear = [p for p in returned if is_linear(module.get_submodule(p))]
        (path,) = [p for p in linear if _gave(returned[p], projected)]
        last = module.get_submodule(path)
        own = getattr(last, "bias", None)
        expected = torch.zeros_like(bias[0]) if own is None else own.detach()
        assert (bias[0] - expected).abs().max() < ROUNDING
        assert path.startswith((layer.name, layer.name.rpartition(".")[0]))


def _gave(out: Tensor, rows: Tensor) -> bool:
    return out.ndim == 3 and out[0].shape == rows.shape and torch.allclose(out[0], rows, atol=1e-6)


@pytest.mark.parametrize("name", ["llama/LlamaForCausalLM", "gpt2/GPT2LMHeadModel"])
def test_the_input_is_the_residual_stream(name: str) -> None:
    _, trace, _ = traced(name)
    for layer, head in heads_of(name):
        steps = real_head(trace, layer, head).steps
        entering = steps.x if steps.embedded is None else steps.embedded
        assert torch.equal(entering[0], trace.residual(layer))
        assert steps.residual_sum is not None


def head_of(name: str, layer: int, head: int) -> tuple[PreTrainedModel, RealHead]:
    module, trace, _ = traced(name)
    return module, real_head(trace, layer, head)


def test_a_shared_key_head_has_its_own_rows() -> None:
    module, shown = head_of("mistral/MistralForCausalLM", 1, 3)
    attention = module.model.layers[1].self_attn
    d = attention.head_dim
    group = 3 // attention.num_key_value_groups
    assert torch.equal(shown.steps.w_q[0], attention.q_proj.weight[3 * d : 4 * d].T)
    part = slice(group * d, (group + 1) * d)
    assert torch.equal(shown.steps.w_k[0], attention.k_proj.weight[part].T)
    assert torch.equal(shown.steps.w_v[0], attention.v_proj.weight[part].T)
    assert torch.equal(shown.steps.w_o[0], attention.o_proj.weight[:, 3 * d : 4 * d].T)
    assert (shown.config.positions, shown.config.norm, shown.config.norm_kind) == (
        *("rope", "pre"),
        "rms",
    )
    assert shown.config.kv_heads == 2


def test_one_matrix_for_all_is_taken_apart() -> None:
    module, shown = head_of("gpt2/GPT2LMHeadModel", 0, 2)
    attention = module.transformer.h[0].attn
    d, width = attention.head_dim, attention.embed_dim
    for at, name in enumerate("qkv"):
        part = slice(at * width + 2 * d, at * width + 3 * d)
        weight, bias = getattr(shown.steps, f"w_{name}"), getattr(shown.steps, f"b_{name}")
        assert torch.equal(weight[0], attention.c_attn.weight[:, part])
        assert torch.equal(bias[0, 0], attention.c_attn.bias[part])
    assert shown.config.positions == "learned"
    positions = module.transformer.wpe.weight[: shown.steps.x.shape[1]]
    assert torch.equal(shown.steps.position_vectors[0], positions)


def test_interleaved_heads_are_told_apart() -> None:
    module, shown = head_of("gpt_neox/GPTNeoXForCausalLM", 1, 2)
    attention = module.gpt_neox.layers[1].attention
    d = attention.head_size
    rows = attention.query_key_value.weight[2 * 3 * d : 3 * 3 * d]  # (3 * d, d_model)
    for at, name in enumerate("qkv"):
        assert torch.equal(getattr(shown.steps, f"w_{name}")[0], rows[at * d : (at + 1) * d].T)


def test_each_family_has_what_is_its_own() -> None:
    softcapped = head_of("gemma2/Gemma2ForCausalLM", 0, 1)
    assert softcapped[1].config.softcap == softcapped[0].config.attn_logit_softcapping
    assert softcapped[1].steps.scores_capped is not None
    module, sunk = head_of("gpt_oss/GptOssForCausalLM", 0, 1)
    assert torch.equal(sunk.steps.sink, module.model.layers[0].self_attn.sinks[1:2])
    shares = sunk.steps.weights.sum(-1) + sunk.steps.sink_weights
    assert (shares - 1).abs().max() < ROUNDING
    module, biased = head_of("t5/T5ForConditionalGeneration", 0, 2)
    own = module.encoder.block[0].layer[0].SelfAttention.compute_bias(16, 16)[0, 2]
    assert (biased.steps.bias[0, 0] - own).abs().max() < ROUNDING
    assert biased.config.scaling == 1.0
    _, post = head_of("bert/BertForMaskedLM", 1, 0)
    assert post.steps.normed is None and post.steps.post_normed is not None
    _, normed = head_of("qwen3/Qwen3ForCausalLM", 1, 3)
    assert normed.config.qk_norm and normed.steps.q_normed is not None


def test_cross_attention_reads_the_encoder() -> None:
    _, trace, _ = traced("bart/BartForConditionalGeneration")
    layer = next(x.index for x in trace.layers if x.kind == "cross")
    shown = real_head(trace, layer, 1)
    n_encoder = trace.n_residuals("encoder")
    assert torch.equal(shown.steps.context[0], trace.residual(n_encoder - 1, kind="encoder"))
    assert len(shown.query_tokens) != len(shown.key_tokens)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("deepseek_v3/DeepseekV3ForCausalLM", "no linear map of its block"),  # a latent in between
        ("olmo2/Olmo2ForCausalLM", "QK-norm spans all heads"),
        ("bloom/BloomForCausalLM", "computed inside its module"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_reason(name: str, why: str) -> None:
    _, trace, _ = traced(name)
    with pytest.raises(AttnVizError, match=why):
        real_head(trace, 0, 0)


def test_weights_that_changed_since_are_not_taken_for_the_traces() -> None:
    module, inputs = build(TYPE["llama/LlamaForCausalLM"])
    trace = attnviz.wrap(module).trace(inputs=inputs)
    with torch.no_grad():
        module.model.layers[0].self_attn.q_proj.weight.mul_(1.01)
    with pytest.raises(AttnVizError, match="has changed since"):
        real_head(trace, 0, 0)


def test_a_long_text_is_an_error_with_its_length() -> None:
    module, _ = build(TYPE["llama/LlamaForCausalLM"])
    ids = torch.randint(6, 50, (1, MAX_TOKENS + 1))
    with pytest.raises(AttnVizError, match=f"{MAX_TOKENS + 1} tokens.*at most {MAX_TOKENS}"):
        real_head(attnviz.wrap(module).trace(inputs={"input_ids": ids}), 0, 0)


def test_no_hook_is_left_behind() -> None:
    module, trace, _ = traced("llama/LlamaForCausalLM")
    real_head(trace, 0, 0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_half_precision_is_within_its_own_rounding() -> None:
    module, inputs = build(TYPE["llama/LlamaForCausalLM"], dtype=torch.bfloat16)
    trace = attnviz.wrap(module).trace(inputs=inputs)
    shown = real_head(trace, 1, 2)
    assert 0 < shown.weights_error < 6e-2  # bfloat16 has 8 bits


def test_smollm2_is_the_models_own_layer() -> None:
    """Weights and outputs of a real model's layer, against its own eager module."""
    model = attnviz.load("smollm2-135m")
    text = "When Mary and John went to the store, John gave a drink to"
    trace = model.trace(text)
    shown = [real_head(trace, 8, head) for head in (0, 3, 8)]
    ids = model.tokenizer(text, return_tensors="pt").input_ids
    taken: list[Tensor] = []
    module = model.module
    attention = module.model.layers[8].self_attn
    hook = attention.register_forward_hook(lambda _, __, out: taken.append(out[0].detach()))
    module.set_attn_implementation("eager")
    with torch.no_grad():
        out = module(ids, output_attentions=True)
    hook.remove()
    for head, one in zip((0, 3, 8), shown, strict=True):
        assert (one.steps.weights[0, 0] - out.attentions[8][0, head]).abs().max() < ROUNDING
        # numbers up to 10 in sums of 576 products
        assert (one.steps.projected[0] - taken[0][0]).abs().max() < 1e-4
        cell = cell_steps(one.steps, 0, 13, 6)
        assert cell.product.sum() * cell.scaling == pytest.approx(cell.score, abs=1e-4)
    d = attention.head_dim
    assert torch.equal(shown[1].steps.w_k[0], attention.k_proj.weight[d : 2 * d].T)
