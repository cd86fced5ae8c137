"""Tiny random models whose attention is far from uniform, one per feature that must be right."""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers as hf
from transformers import PreTrainedModel

N = 12
VOCABULARY = 99

_GQA = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT = {"n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
_BERT = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "vocab_size": VOCABULARY,
}

BUILD: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=32, **_GPT)),
    # grouped-query heads
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_GQA)),
    # a sliding window shorter than the text
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(sliding_window=4, **_GQA)),
    # softcap, and layers with and without a window
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(head_dim=8, sliding_window=4, **_GQA)),
    # sinks: rows sum to less than 1
    "gpt_oss": lambda: hf.GptOssForCausalLM(
        hf.GptOssConfig(
            head_dim=8, sliding_window=4, num_local_experts=4, num_experts_per_tok=2, **_GQA
        )
    ),
    # MLA: values of another size than queries
    "deepseek_v3": lambda: hf.DeepseekV3ForCausalLM(
        hf.DeepseekV3Config(
            **{**_GQA, "num_key_value_heads": 4},
            kv_lora_rank=8,
            q_lora_rank=8,
            qk_rope_head_dim=4,
            qk_nope_head_dim=8,
            v_head_dim=6,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_group=1,
            topk_group=1,
            first_k_dense_replace=1,
            moe_intermediate_size=16,
        )
    ),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**_BERT)),
    # position_bias, and cross-attention
    "t5": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(
            num_layers=2,
            num_heads=4,
            d_model=32,
            d_kv=8,
            d_ff=64,
            vocab_size=VOCABULARY,
            decoder_start_token_id=0,
        )
    ),
    # outside transformers' attention interface
    "gptj": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(n_embd=32, rotary_dim=4, **_GPT)),
    "bloom": lambda: hf.BloomForCausalLM(
        hf.BloomConfig(n_layer=2, n_head=4, hidden_size=32, vocab_size=VOCABULARY)
    ),
}

CAUSAL = ("gpt2", "llama", "mistral", "gemma2", "gpt_oss", "deepseek_v3", "gptj", "bloom")


def build(name: str) -> PreTrainedModel:
    """The model, in eval mode; with the same weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = BUILD[name]().eval()
        with torch.no_grad():
            for p in module.parameters():
                # the usual 0.02 gives uniform attention, which hides mistakes
                p.copy_(torch.randn_like(p) * (0.15 if p.ndim > 1 else 0.5) + (p.ndim == 1))
    return module


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random ids, none of them special."""
    return torch.randint(3, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def inputs(name: str, B: int = 2, n: int = N) -> dict[str, torch.Tensor]:
    """A batch of ids; for an encoder-decoder with shorter ones for the decoder."""
    given = {"input_ids": tokens(B, n)}
    if name == "t5":
        given["decoder_input_ids"] = tokens(B, n - 5, seed=1)
    return given


def eager_weights(
    name: str, given: dict[str, torch.Tensor]
) -> dict[str | None, tuple[torch.Tensor, ...]]:
    """The weights that transformers' own eager path reports, by kind (None: the only kind)."""
    module = build(name)
    if module.config._attn_implementation != "eager":
        module.set_attn_implementation("eager")
    with torch.no_grad():
        out = module(**given, output_attentions=True, use_cache=False)
    if name == "t5":
        return {
            "encoder": out.encoder_attentions,
            "decoder": out.decoder_attentions,
            "cross": out.cross_attentions,
        }
    return {None: out.attentions}
