"""The inputs of a tiny model: two short texts, the second one padded, or two small images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from transformers import PreTrainedModel

from tests.tiny_models.configs import IMAGE

BATCH = 2
TOKENS = 16
TARGET_TOKENS = 7
PADDED = 3  # positions of the second text that are padding
_FIRST_WORD, _LAST_WORD = 6, 50  # ids below and above are special tokens'

Inputs = dict[str, Any]


def _words(generator: torch.Generator, length: int) -> torch.Tensor:
    return torch.randint(_FIRST_WORD, _LAST_WORD, (BATCH, length), generator=generator)  # (B, n)


def text_inputs(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """Token ids and a padding mask, and ids for the decoder where there is one."""
    accepted = inspect.signature(module.forward).parameters
    inputs = {"input_ids": _words(generator, TOKENS)}
    if "attention_mask" in accepted:
        mask = torch.ones(BATCH, TOKENS, dtype=torch.long)
        mask[1, -PADDED:] = 0
        inputs["attention_mask"] = mask  # (B, n)
    if module.config.is_encoder_decoder and "decoder_input_ids" in accepted:
        inputs["decoder_input_ids"] = _words(generator, TARGET_TOKENS)
    return inputs


def image_inputs(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """Pixels drawn from a normal distribution, as an image processor's normalizing leaves them."""
    size = getattr(module.config, "image_size", IMAGE)
    side = size if isinstance(size, int) else IMAGE
    channels = getattr(module.config, "num_channels", 3)
    return {
        "pixel_values": torch.randn(BATCH, channels, side, side, generator=generator)
    }  # (B, C, height, width)


def _codebooks(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """Music: one row of codes for each of the codebooks."""
    rows = BATCH * module.config.num_codebooks
    codes = torch.randint(
        _FIRST_WORD, _LAST_WORD, (rows, TOKENS), generator=generator
    )  # (B * codebooks, n)
    return {"input_ids": codes}


def _pixel_tokens(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """An image as a row of color ids."""
    return {"input_ids": _words(generator, TOKENS)}


def _patches(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """Images already cut into patches, the second one smaller than the first."""
    vision = module.config.vision_config
    shapes = torch.tensor([[4, 4], [3, 4]])
    mask = torch.ones(BATCH, 16, dtype=torch.long)
    mask[1, 12:] = 0
    pixels = torch.randn(BATCH, 16, vision.num_channels * vision.patch_size**2, generator=generator)
    return {"pixel_values": pixels, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def _entities(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """A text with two entities, whose attention the type computes with queries of their own."""
    positions = torch.tensor([[[1, 2, -1], [4, -1, -1]]]).expand(BATCH, -1, -1).contiguous()
    return {
        **text_inputs(module, generator),
        "entity_ids": torch.tensor([[3, 5], [7, 2]]),
        "entity_attention_mask": torch.ones(BATCH, 2, dtype=torch.long),
        "entity_position_ids": positions,
    }


def _with_audio(module: PreTrainedModel, generator: torch.Generator) -> Inputs:
    """Text with one audio embedding added to every token."""
    config = module.config
    length = TOKENS * config.downsample_factor
    embeds = torch.randn(BATCH, length, config.audio_config.hidden_size, generator=generator)
    return {"input_ids": _words(generator, TOKENS), "encoder_inputs_embeds": embeds}


_OWN: dict[str, Callable[[PreTrainedModel, torch.Generator], Inputs]] = {
    "imagegpt": _pixel_tokens,
    "luke": _entities,
    "musicgen": _codebooks,
    "musicgen_melody": _codebooks,
    "shieldgemma2": text_inputs,
    "siglip2": _patches,
    "voxtral_realtime": _with_audio,
}


def inputs_for(module: PreTrainedModel, model_type: str, task: str) -> Inputs:
    """Inputs for a tiny model, the same at every call."""
    generator = torch.Generator().manual_seed(1)
    sees = (
        module.main_input_name == "pixel_values" if task == "encoder" else task.startswith("image")
    )
    return _OWN.get(model_type, image_inputs if sees else text_inputs)(module, generator)
