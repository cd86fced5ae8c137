"""Tiny models with several towers, or with an unusual layout of the residual stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from transformers import PreTrainedModel

from tests.tiny_models import TYPES, build

Given = tuple[PreTrainedModel, dict[str, Any]]


def drawn(module: PreTrainedModel) -> PreTrainedModel:
    """The model in eval mode; its weights are far from zero and the same at every call."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(noise * (0.15 if p.ndim > 1 else 0.3) + (p.ndim == 1))
    return module.eval()


def ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(6, 50, shape, generator=torch.Generator().manual_seed(seed))


def pixels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def tiny(name: str) -> Given:
    """One of the coverage table's models, by "type/class", with its inputs of two items."""
    return build(next(t for t in TYPES if t.name == name))


_TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 99, "pad_token_id": 0,
}  # fmt: skip
_VISION = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip


def idefics2() -> Given:
    """16 patches, of which a resampler makes 4 slots, and a text of 16 tokens with those inside."""
    config = hf.Idefics2Config(
        vision_config=_VISION,
        perceiver_config={
            "hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 2,
            "resampler_n_heads": 4, "resampler_head_dim": 8, "num_key_value_heads": 2,
        },
        text_config={"model_type": "mistral", **_TEXT},
        image_token_id=98,
    )  # fmt: skip
    text = ids(2, 16)
    text[:, 2:6] = 98
    given = {"input_ids": text, "pixel_values": pixels(2, 1, 3, 32, 32)}
    return drawn(hf.Idefics2ForConditionalGeneration(config)), given


def clip() -> Given:
    """17 positions of an image (a class and 16 patches), and texts of 17 tokens."""
    config = hf.CLIPConfig(
        text_config={**_TEXT, "max_position_embeddings": 32, "eos_token_id": 98},
        vision_config=_VISION,
        projection_dim=16,
    )
    text = ids(2, 17)
    text[:, -1] = 98
    return drawn(hf.CLIPModel(config)), {"input_ids": text, "pixel_values": pixels(2, 3, 32, 32)}


def blip() -> Given:
    """A decoder of 17 tokens that cross-attends to 17 positions of an image."""
    text = {**_TEXT, "encoder_hidden_size": 24, "max_position_embeddings": 32, "bos_token_id": 1}
    config = hf.BlipConfig(
        text_config={**text, "eos_token_id": 2, "sep_token_id": 2}, vision_config=_VISION
    )
    given = {"input_ids": ids(2, 17), "pixel_values": pixels(2, 3, 32, 32)}
    return drawn(hf.BlipForConditionalGeneration(config)), given


BUILD: dict[str, Callable[[], Given]] = {"idefics2": idefics2, "clip": clip, "blip": blip}
