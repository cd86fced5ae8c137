"""Small models and broken ones as folders on disk, for the pages to open."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

WORDS = ("the", "cat", "sat", "on", "a", "mat", "because", "it", "was", "tired", "old", "dog")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SIZE = len(SPECIAL) + len(WORDS)


def encoder_decoder(folder: Path) -> Path:
    """T5 with 2 + 2 layers of 3 heads."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=SIZE, d_model=24, d_kv=8, num_heads=3, num_layers=2, d_ff=32,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=3,
    )  # fmt: skip
    return _save(T5ForConditionalGeneration(config), folder)


def masked(folder: Path) -> Path:
    """BERT with 2 layers of 2 heads that guesses what is masked."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=SIZE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    return _save(BertForMaskedLM(config), folder)


def one_head(folder: Path) -> Path:
    """GPT-2 with one layer of one head."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=SIZE, n_embd=8, n_layer=1, n_head=1, n_positions=32)
    return _save(GPT2LMHeadModel(config), folder)


def vision(folder: Path) -> Path:
    """A vision transformer that sees 16 patches."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8, num_labels=3,
    )  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _save(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    ids = {word: i for i, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if isinstance(model, BertForMaskedLM):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    ).save_pretrained(folder)  # fmt: skip
    return folder


def without_a_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing here")
    return folder


def a_pickle(folder: Path) -> Path:
    one_head(folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    return folder


def truncated(folder: Path) -> Path:
    weights = one_head(folder) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return folder


def own_code(folder: Path) -> Path:
    return _configured(one_head(folder), model_type="nosuch", auto_map={})


def larger_than_memory(folder: Path) -> Path:
    """Weights of twice the machine's memory, in a file of holes."""
    one_head(folder)
    n_bytes = 2 * psutil.virtual_memory().total // 4 * 4
    entry = {"dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [0, n_bytes]}
    header = json.dumps({"wte.weight": entry}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + n_bytes)
    return folder


def _configured(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder
