"""The whole transformer against transformers' own models, with copied weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from attnviz.nn import TransformerConfig, TransformerForCausalLM, TransformerForMaskedLM

IDS = torch.randint(3, 99, (3, 17), generator=torch.Generator().manual_seed(0))


def shaken(model: PreTrainedModel) -> PreTrainedModel:
    """Every parameter moved, so that a bias or a norm that was not copied shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """All of the model's weights, and nothing else."""
    model.load_state_dict({name: w.contiguous() for name, w in weights.items()}, strict=True)
    model.eval()


def turned(weight: Tensor) -> Tensor:
    """GPT-2 keeps its matrices (inputs, outputs); biases stay as they are."""
    return weight.T if weight.ndim == 2 else weight


def gpt2() -> tuple[PreTrainedModel, TransformerForCausalLM]:
    theirs = shaken(
        GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_layer=3, n_head=4, n_positions=40))
    )
    ours = TransformerForCausalLM(
        TransformerConfig(
            vocab_size=99, d_model=32, n_layers=3, n_heads=4, max_positions=40,
            positions="learned", norm="pre", activation="gelu_tanh",
        )
    )  # fmt: skip
    old = theirs.state_dict()
    new = {
        "model.embed_tokens.weight": old["transformer.wte.weight"],
        "lm_head.weight": old["transformer.wte.weight"],
        "model.positions.table.weight": old["transformer.wpe.weight"],
        "model.norm.weight": old["transformer.ln_f.weight"],
        "model.norm.bias": old["transformer.ln_f.bias"],
    }
    for i in range(3):
        a, b = f"transformer.h.{i}", f"model.layers.{i}"
        for kind in ("weight", "bias"):
            joint = old[f"{a}.attn.c_attn.{kind}"]
            for name, part in zip("qkv", joint.chunk(3, dim=-1), strict=True):
                new[f"{b}.self_attn.{name}_proj.{kind}"] = turned(part)
            new[f"{b}.self_attn.o_proj.{kind}"] = turned(old[f"{a}.attn.c_proj.{kind}"])
            new[f"{b}.self_attn.norm.{kind}"] = old[f"{a}.ln_1.{kind}"]
            new[f"{b}.feed_forward.norm.{kind}"] = old[f"{a}.ln_2.{kind}"]
            new[f"{b}.feed_forward.up_proj.{kind}"] = turned(old[f"{a}.mlp.c_fc.{kind}"])
            new[f"{b}.feed_forward.down_proj.{kind}"] = turned(old[f"{a}.mlp.c_proj.{kind}"])
    load(ours, new)
    return theirs, ours


def llama() -> tuple[PreTrainedModel, TransformerForCausalLM]:
    theirs = shaken(
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=99, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6,
                rope_parameters={"rope_type": "default", "rope_theta": 500.0},
            )
        )
    )  # fmt: skip
    ours = TransformerForCausalLM(
        TransformerConfig(
            vocab_size=99, d_model=32, feed_forward_size=48, n_layers=3, n_heads=4, n_kv_heads=2,
            positions="rope", rope_theta=500.0, bias=False, norm="pre", norm_kind="rms",
            norm_eps=1e-6, activation="swiglu", tie_word_embeddings=False,
        )
    )  # fmt: skip
    new = {}
    for name, weight in theirs.state_dict().items():
        name = name.replace("input_layernorm", "self_attn.norm")
        name = name.replace("post_attention_layernorm", "feed_forward.norm")
        new[name.replace("mlp.", "feed_forward.")] = weight
    load(ours, new)
    return theirs, ours


def bert() -> tuple[PreTrainedModel, TransformerForMaskedLM]:
    theirs = shaken(
        BertForMaskedLM(
            BertConfig(
                vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
                intermediate_size=48, max_position_embeddings=40,
            )
        )
    )  # fmt: skip
    ours = TransformerForMaskedLM(
        TransformerConfig(
            vocab_size=99, d_model=32, feed_forward_size=48, n_layers=3, n_heads=4,
            architecture="encoder", positions="learned", max_positions=40, norm="post",
            norm_eps=1e-12, embedding_norm=True, activation="gelu",
        )
    )  # fmt: skip
    old = theirs.state_dict()
    embeddings, head = "bert.embeddings", "cls.predictions"
    new = {
        "model.embed_tokens.weight": old[f"{embeddings}.word_embeddings.weight"],
        # the vector of the first segment is added to every token alike
        "model.positions.table.weight": old[f"{embeddings}.position_embeddings.weight"]
        + old[f"{embeddings}.token_type_embeddings.weight"][0],
        "lm_head.weight": old[f"{head}.decoder.weight"],
        "lm_head.bias": old[f"{head}.decoder.bias"],
    }
    for kind in ("weight", "bias"):
        new[f"model.embedding_norm.{kind}"] = old[f"{embeddings}.LayerNorm.{kind}"]
        new[f"dense.{kind}"] = old[f"{head}.transform.dense.{kind}"]
        new[f"norm.{kind}"] = old[f"{head}.transform.LayerNorm.{kind}"]
        for i in range(3):
            a, b = f"bert.encoder.layer.{i}", f"model.layers.{i}"
            for name in ("query", "key", "value"):
                target = f"{b}.self_attn.{name[0]}_proj.{kind}"
                new[target] = old[f"{a}.attention.self.{name}.{kind}"]
            new[f"{b}.self_attn.o_proj.{kind}"] = old[f"{a}.attention.output.dense.{kind}"]
            new[f"{b}.self_attn.norm.{kind}"] = old[f"{a}.attention.output.LayerNorm.{kind}"]
            new[f"{b}.feed_forward.up_proj.{kind}"] = old[f"{a}.intermediate.dense.{kind}"]
            new[f"{b}.feed_forward.down_proj.{kind}"] = old[f"{a}.output.dense.{kind}"]
            new[f"{b}.feed_forward.norm.{kind}"] = old[f"{a}.output.LayerNorm.{kind}"]
    load(ours, new)
    return theirs, ours


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("build", [gpt2, llama, bert])
def test_it_equals(build, implementation: str) -> None:
    theirs, ours = build()
    theirs.set_attn_implementation("eager")
    ours.set_attn_implementation(implementation)
    real = torch.ones_like(IDS)
    real[1, 11:] = 0
    with torch.no_grad():
        for mask in (None, real):
            expected = theirs(
                IDS, attention_mask=mask, output_attentions=True, output_hidden_states=True
            )
            got = ours(
                IDS,
                attention_mask=mask,
                output_attentions=implementation == "eager",
                output_hidden_states=True,
            )
            keep = real.bool() if mask is not None else torch.ones_like(IDS).bool()
            assert float(expected.logits.std()) > 0.5
            torch.testing.assert_close(got.logits[keep], expected.logits[keep], rtol=0, atol=1e-5)
            for a, b in zip(got.hidden_states, expected.hidden_states, strict=True):
                torch.testing.assert_close(a[keep], b[keep], rtol=0, atol=1e-5)
            if implementation == "eager":
                for a, b in zip(got.attentions, expected.attentions, strict=True):
                    rows = keep[:, None, :].expand(a.shape[:3])
                    torch.testing.assert_close(a[rows], b[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [gpt2, llama])
def test_it_generates_the_same(build) -> None:
    theirs, ours = build()
    prompt = {"input_ids": IDS[:, :6], "attention_mask": torch.ones(3, 6, dtype=torch.long)}
    prompt["attention_mask"][0, :2] = 0  # padding on the left
    how = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    assert torch.equal(ours.generate(**prompt, **how), theirs.generate(**prompt, **how))
