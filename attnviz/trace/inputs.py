"""From what a person gives to what a model takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from attnviz.errors import AttnVizError
from attnviz.models.checkpoint import Checkpoint
from attnviz.models.images import as_rgb
from attnviz.models.tokens import Token, decode_tokens, encode, patches
from attnviz.trace.recorder import Call


@dataclass(frozen=True)
class Prepared:
    """A model's input: tensors on its device, and the tokens of each side.

    Attributes:
        batch: items in the batch.
    """

    tensors: dict[str, Tensor]
    tokens: tuple[Token, ...]
    target_tokens: tuple[Token, ...]
    batch: int


def prepare(
    checkpoint: Checkpoint,
    text: str | None,
    target: str | None,
    pair: str | None,
    image: Any | None,
    inputs: dict[str, Tensor] | None,
) -> Prepared:
    """What the model takes, from text, an image, or ready tensors.

    Raises:
        AttnVizError: nothing given, or something that this model cannot take.
    """
    if inputs is not None:
        return _ready(checkpoint, inputs)
    if image is not None:
        return _image(checkpoint, image)
    if text is None:
        raise AttnVizError("There is nothing to trace.", "Give a text, an image or inputs.")
    if checkpoint.tokenizer is None:
        raise AttnVizError(
            f"{checkpoint.name} has no tokenizer, so it cannot read text.",
            "Pass ready tensors as inputs, or a tokenizer to attnviz.wrap.",
        )
    tensors, tokens = encode(checkpoint, text, pair)
    target_tokens: tuple[Token, ...] = ()
    if getattr(checkpoint.module.config, "is_encoder_decoder", False):
        ids, target_tokens = _decoder_input(checkpoint, target)
        tensors = {**tensors, "decoder_input_ids": ids}
    elif target is not None:
        raise AttnVizError(
            f"{checkpoint.name} has no decoder that takes a target text.",
            "Leave target out, or choose an encoder-decoder model.",
        )
    on_device = {k: v.to(checkpoint.device) for k, v in tensors.items()}
    return Prepared(on_device, tokens, target_tokens, 1)


def tokens_of(checkpoint: Checkpoint, ids: Sequence[int]) -> tuple[Token, ...]:
    """Tokens from their ids; without a tokenizer the ids as text."""
    if checkpoint.tokenizer is None:
        return tuple(Token(str(i), i, None, None) for i in ids)
    return decode_tokens(checkpoint.tokenizer, ids)


def with_tokens(
    prepared: Prepared, tokens: Sequence[Token], target_tokens: Sequence[Token]
) -> Prepared:
    """The same input under other tokens: those of a generation's whole text."""
    return replace(prepared, tokens=tuple(tokens), target_tokens=tuple(target_tokens))


def as_patches(
    module: PreTrainedModel, prepared: Prepared, calls: Sequence[Call]
) -> tuple[Token, ...]:
    """The tokens of the input; of an image its patches, once the first layer has told how many."""
    pixels = prepared.tensors.get("pixel_values")
    if prepared.tokens or pixels is None:
        return prepared.tokens
    shapes = [c.layer.shape for c in calls if c.layer is not None]
    if not shapes or pixels.ndim != 4:
        return ()
    n = shapes[0][2]
    high, wide = pixels.shape[-2:]
    # leading special tokens (class, distillation, registers) are what the grid leaves over
    for extra in range(min(n, 9)):
        rows = math.isqrt((n - extra) * high // max(1, wide))
        if rows and rows * (wide * rows // high) == n - extra:
            return patches((rows, wide * rows // high), extra)
    return ()


def _ready(checkpoint: Checkpoint, inputs: dict[str, Tensor]) -> Prepared:
    if not inputs:
        raise AttnVizError("The inputs are empty.", 'Give tensors such as {"input_ids": ids}.')
    tensors = {
        k: v.to(checkpoint.device) if isinstance(v, Tensor) else v for k, v in inputs.items()
    }
    first = next(v for v in tensors.values() if isinstance(v, Tensor))
    encdec = getattr(checkpoint.module.config, "is_encoder_decoder", False)
    tokens = _tokens_of_first(checkpoint, tensors.get("input_ids"))
    target = _tokens_of_first(checkpoint, tensors.get("decoder_input_ids")) if encdec else ()
    return Prepared(tensors, tokens, target, first.shape[0])


def _tokens_of_first(checkpoint: Checkpoint, ids: Tensor | None) -> tuple[Token, ...]:
    """The tokens of a batch's first item."""
    return () if ids is None or ids.ndim != 2 else tokens_of(checkpoint, ids[0].tolist())


def _decoder_input(checkpoint: Checkpoint, target: str | None) -> tuple[Tensor, tuple[Token, ...]]:
    """(1, n): the decoder's start token and then the target, with their tokens."""
    config = checkpoint.module.config
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = checkpoint.module.generation_config.decoder_start_token_id  # type: ignore[union-attr]
    if start is None:
        start = next((i for i in (config.bos_token_id, config.pad_token_id) if i is not None), 0)
    begin = tokens_of(checkpoint, [int(start)])
    if not target:
        return torch.tensor([[start]]), begin
    tensors, tokens = encode(checkpoint, target)
    ids = tensors["input_ids"]
    # the closing token is what the decoder would say last, not what it is given
    if len(tokens) > 1 and tokens[-1].special:
        ids, tokens = ids[:, :-1], tokens[:-1]
    if tokens and tokens[0].special and tokens[0].id == start:
        return ids, tokens
    return torch.cat([torch.tensor([[start]]), ids], dim=1), (*begin, *tokens)


def _image(checkpoint: Checkpoint, image: Any) -> Prepared:
    if checkpoint.processor is None:
        raise AttnVizError(
            f"{checkpoint.name} has no image processor, so it cannot see an image.",
            "Pass ready tensors as inputs, or a processor to attnviz.wrap.",
        )
    images = [as_rgb(one) for one in (image if isinstance(image, list | tuple) else [image])]
    tensors = checkpoint.processor(images=images, return_tensors="pt")
    pixels = tensors["pixel_values"].to(checkpoint.device, checkpoint.dtype)
    return Prepared({"pixel_values": pixels}, (), (), pixels.shape[0])
