"""The tokenizer and the image processor of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import (
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from attnviz.models.config_check import check_image_processor
from attnviz.models.loader import load

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def test_a_text_model_without_tokenizer_says_so(gpt2_folder: Path) -> None:
    loaded = load(str(gpt2_folder), device="cpu")
    assert loaded.tokenizer is None
    assert any("no tokenizer" in note for note in loaded.notes)


@pytest.mark.parametrize(
    "size",
    [
        {"height": 30_000, "width": 32},
        {"shortest_edge": 50_000},
        {"shortest_edge": 2**30, "longest_edge": 2**31},
        60_000,
    ],
)
def test_a_processor_that_would_fill_the_memory_is_left_out(tmp_path: Path, size: object) -> None:
    config = ViTConfig(**SMALL, image_size=32, patch_size=8, num_labels=3)
    ViTForImageClassification(config).save_pretrained(tmp_path)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    assert load(str(tmp_path), device="cpu").processor is not None
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": size}))
    loaded = load(str(tmp_path), device="cpu")
    assert loaded.processor is None
    assert any("which does not match" in note for note in loaded.notes)


def test_published_sizes_of_pictures_are_taken() -> None:
    for settings in (
        {"size": {"shortest_edge": 800, "longest_edge": 1333}},  # DETR
        {"size": {"shortest_edge": 3136, "longest_edge": 12845056}},  # Qwen2-VL
        {"size": 224, "crop_size": {"height": 1024, "width": 1024}, "max_pixels": 12845056},
    ):
        check_image_processor(settings)
