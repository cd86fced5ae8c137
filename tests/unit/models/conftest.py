"""Real checkpoints, loaded once, and tiny ones made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from attnviz.models.loaded_model import LoadedModel
from attnviz.models.loader import load


@pytest.fixture(scope="session")
def smollm() -> LoadedModel:
    return load("smollm2-135m", device="cpu")


@pytest.fixture(scope="session")
def minilm() -> LoadedModel:
    return load("minilm-l6", device="cpu")


@pytest.fixture
def gpt2_folder(tmp_path: Path) -> Path:
    """A folder made by save_pretrained; tests damage their own copy."""
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=100)
    folder = tmp_path / "tiny-gpt2"
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=258,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=257,
        eos_token_id=257,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def tiny_gguf(tmp_path: Path, tiny_llama: LlamaForCausalLM) -> Path:
    """`tiny_llama` as llama.cpp would store it, with a vocabulary of the bytes and one pair."""
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny_llama)
    return path


def write_gguf(path: Path, model: LlamaForCausalLM, architecture: str = "llama") -> None:
    config = model.config
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*sorted(ByteLevel.alphabet()), "he", "<|end|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(257)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in state.items():
        for part, n_heads in heads.items():
            if part in name:
                weight = _interleaved(weight, n_heads)
        stored = names.get_name(name, try_suffixes=(".weight",))
        assert stored is not None, name
        writer.add_tensor(stored, np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _interleaved(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """The rows of a projection in the order that llama.cpp's rotary embedding wants."""
    rows, columns = weight.shape
    halves = weight.reshape(n_heads, 2, rows // n_heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


@pytest.fixture
def gguf_writer() -> Callable[..., None]:
    return write_gguf
