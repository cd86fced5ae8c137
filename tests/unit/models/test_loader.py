"""Loading checkpoints of each kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2LMHeadModel,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.loader import load
from attnviz.models.text_encoding import encode
from attnviz.models.token_decoding import decode_tokens
from attnviz.nn import TransformerConfig, TransformerForCausalLM

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_smollm2_knows_the_capital_of_france(smollm: LoadedModel) -> None:
    tensors, _ = encode(smollm, "The capital of France is")
    with torch.no_grad():
        logits = smollm.module(**tensors).logits
    (token,) = decode_tokens(smollm.tokenizer, [int(logits[0, -1].argmax())])
    assert token.text == " Paris"


def test_smollm2_has_the_shape_it_is_known_for(smollm: LoadedModel) -> None:
    config = smollm.module.config
    shape = config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads
    assert shape == (30, 9, 3)
    assert smollm.dtype == torch.float32
    assert not hasattr(config, "quantization_config")


def test_minilm_puts_like_sentences_together(minilm: LoadedModel) -> None:
    def embedding(text: str) -> torch.Tensor:
        tensors, _ = encode(minilm, text)
        with torch.no_grad():
            hidden = minilm.module(**tensors).last_hidden_state  # (1, n, d_model)
        return torch.nn.functional.normalize(hidden.mean(1)[0], dim=0)

    cat, kitten = embedding("A cat sits on the mat."), embedding("A kitten is lying on a rug.")
    shares = embedding("Share prices fell sharply on Monday.")
    # sentence-transformers' own figures for such pairs are about 0.6 and 0.0
    assert cat @ kitten > 0.4
    assert cat @ shares < 0.2


def test_a_loaded_model_is_ready_to_be_read(minilm: LoadedModel) -> None:
    assert not any(module.training for module in minilm.module.modules())
    assert not any(p.requires_grad for p in minilm.module.parameters())
    assert minilm.device == torch.device("cpu")


def tiny_models() -> dict[str, Callable[[], PreTrainedModel]]:
    text = SMALL | {"vocab_size": 100}
    gemma = text | {"num_key_value_heads": 2, "head_dim": 8}
    t5 = {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 64, "d_kv": 8, "vocab_size": 100}
    return {
        "masked": lambda: BertForMaskedLM(BertConfig(**text)),
        "encoder": lambda: BertModel(BertConfig(**text)),
        "seq2seq": lambda: T5ForConditionalGeneration(T5Config(**t5)),
        "softcap": lambda: Gemma2ForCausalLM(Gemma2Config(**gemma)),
        "image": lambda: ViTForImageClassification(ViTConfig(**SMALL, image_size=32, patch_size=8)),
        "ours": lambda: TransformerForCausalLM(TransformerConfig()),
    }


@pytest.mark.parametrize("kind", tiny_models())
def test_a_saved_model_comes_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = tiny_models()[kind]()
    model.save_pretrained(tmp_path)
    loaded = load(str(tmp_path), device="cpu")
    assert type(loaded.module) is type(model)
    kept = loaded.module.state_dict()
    assert kept.keys() == model.state_dict().keys()
    assert all(torch.equal(kept[name], weight) for name, weight in model.state_dict().items())


def test_a_soft_cap_is_not_left_out(tmp_path: Path) -> None:
    tiny_models()["softcap"]().save_pretrained(tmp_path)
    assert load(str(tmp_path), device="cpu").module.config._attn_implementation == "eager"


def test_an_image_model_brings_its_processor(tmp_path: Path) -> None:
    tiny_models()["image"]().save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    loaded = load(str(tmp_path), device="cpu")
    pixels = loaded.processor(images=torch.zeros(3, 40, 50).numpy(), return_tensors="pt")
    assert pixels["pixel_values"].shape == (1, 3, 32, 32)
    assert loaded.tokenizer is None


def test_sharded_weights(gpt2_folder: Path, tmp_path: Path) -> None:
    whole = load(str(gpt2_folder), device="cpu").module
    whole.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 2
    parts = load(str(tmp_path / "parts"), device="cpu").module
    ids = torch.arange(10)[None]
    assert torch.equal(whole(ids).logits, parts(ids).logits)


@pytest.mark.parametrize(
    ("kind", "expected"), [("masked", "BertForMaskedLM"), ("encoder", "BertModel")]
)
def test_without_architectures_the_weights_decide(kind: str, expected: str, tmp_path: Path) -> None:
    tiny_models()[kind]().save_pretrained(tmp_path)
    edit_config(tmp_path, architectures=None)
    assert type(load(str(tmp_path), device="cpu").module).__name__ == expected


def test_a_base_model_without_its_pooler_says_so(tmp_path: Path) -> None:
    tiny_models()["encoder"]().save_pretrained(tmp_path)
    drop(tmp_path, "pooler.")
    notes = load(str(tmp_path), device="cpu").notes
    assert any("pooler.dense.weight" in note for note in notes)


def test_missing_weights_are_never_random(gpt2_folder: Path) -> None:
    drop(gpt2_folder, "h.1.attn.c_attn.weight")
    with pytest.raises(AttnVizError, match=r"lacks 1 of the weights.*h\.1\.attn\.c_attn\.weight"):
        load(str(gpt2_folder), device="cpu")


def drop(folder: Path, part: str) -> None:
    """Take the weights whose name has `part` out of the checkpoint."""
    path = folder / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(path).items() if part not in name}
    save_file({name: tensor.clone() for name, tensor in kept.items()}, path, {"format": "pt"})


def test_code_in_the_checkpoint_is_not_run(gpt2_folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass Own: pass\n"
    (gpt2_folder / "own.py").write_text(code)
    edit_config(gpt2_folder, auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"})
    loaded = load(str(gpt2_folder), device="cpu")
    assert type(loaded.module) is GPT2LMHeadModel
    assert any("auto_map" in note for note in loaded.notes)
    assert not ran.exists()


def test_files_that_the_config_names_are_not_followed(gpt2_folder: Path) -> None:
    edit_config(
        gpt2_folder,
        transformers_weights="../elsewhere.safetensors",
        _attn_implementation="someone/kernel",
    )
    loaded = load(str(gpt2_folder), device="cpu")
    assert loaded.module.config._attn_implementation == "sdpa"


def test_dtype_and_device_are_taken(gpt2_folder: Path) -> None:
    loaded = load(str(gpt2_folder), device="cpu", dtype="float64")
    assert loaded.dtype == torch.float64
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float64}


def test_the_revision_follows_the_bytes(gpt2_folder: Path) -> None:
    before = load(str(gpt2_folder), device="cpu").revision
    assert load(str(gpt2_folder), device="cpu").revision == before
    drop(gpt2_folder, "nothing")
    assert load(str(gpt2_folder), device="cpu").revision != before


def test_loading_leaves_the_verbosity_of_transformers_unchanged(gpt2_folder: Path) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(str(gpt2_folder), device="cpu")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_sizes_that_do_not_fit_the_weights_do_not_load(gpt2_folder: Path) -> None:
    edit_config(gpt2_folder, n_embd=64)
    with pytest.raises(AttnVizError):
        load(str(gpt2_folder), device="cpu")


def test_a_nonsense_config_is_one_error_message(gpt2_folder: Path) -> None:
    edit_config(gpt2_folder, n_head="many")
    with pytest.raises(AttnVizError, match="configuration of 'tiny-gpt2'") as caught:
        load(str(gpt2_folder), device="cpu")
    assert "\n" not in str(caught.value)
