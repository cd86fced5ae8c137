"""From text, images or ready tensors to the input of a model."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from attnviz.errors import AttnVizError
from attnviz.models.images import as_rgb
from attnviz.models.loaded_model import LoadedModel
from attnviz.models.text_encoding import encode
from attnviz.models.token_decoding import decode_tokens
from attnviz.models.tokens import Token
from attnviz.trace.axis_labels import AxisLabels, BatchTokens, patches_of

_TEXTS = ("input_ids", "decoder_input_ids")


@dataclass(frozen=True)
class PreparedInputs:
    """A model's input: tensors on its device, and the tokens of each side.

    Attributes:
        batch: items in the batch. image: the one image that was given, in RGB.
    """

    tensors: dict[str, Tensor]
    tokens: tuple[Token, ...]
    target_tokens: tuple[Token, ...]
    batch: int
    image: Image.Image | None = None


def prepare(
    loaded: LoadedModel,
    text: str | None,
    target: str | None,
    pair: str | None,
    image: Any | None,
    inputs: dict[str, Tensor] | None,
) -> PreparedInputs:
    """The input of a model, from text, an image, or ready tensors.

    Raises:
        AttnVizError: nothing given, or something that this model can't take.
    """
    if inputs is not None:
        return _ready(loaded, inputs)
    if image is not None:
        if pair is not None:
            raise AttnVizError("A second segment works with text only.", "Omit pair.")
        return _image(loaded, image, text, target)
    if text is None:
        raise AttnVizError("There is nothing to trace.", "Pass a text, an image or inputs.")
    if loaded.tokenizer is None:
        raise AttnVizError(
            f"{loaded.name} has no tokenizer, so it cannot read text.",
            "Add the tokenizer files to the folder (tokenizer.json) and try again, or pass tensors "
            "as inputs.",
        )
    tensors, tokens = encode(loaded, text, pair)
    target_tokens: tuple[Token, ...] = ()
    if _has_decoder(loaded):
        ids, target_tokens = _decoder_input(loaded, target)
        tensors = {**tensors, "decoder_input_ids": ids}
    elif target is not None:
        raise _no_decoder(loaded)
    on_device = {k: v.to(loaded.device) for k, v in tensors.items()}
    return PreparedInputs(on_device, tokens, target_tokens, 1)


def tokens_of(loaded: LoadedModel, ids: Sequence[int]) -> tuple[Token, ...]:
    """Tokens from their ids; without a tokenizer the ids as text."""
    return _decoded(loaded.tokenizer, ids)


def _decoded(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> tuple[Token, ...]:
    if tokenizer is None:
        return tuple(Token(str(i), i, None, None) for i in ids)
    return decode_tokens(tokenizer, ids)


def with_tokens(
    prepared: PreparedInputs, tokens: Sequence[Token], target_tokens: Sequence[Token]
) -> PreparedInputs:
    """The same input with other tokens: those of a generation's whole text."""
    return replace(prepared, tokens=tuple(tokens), target_tokens=tuple(target_tokens))


def labels(loaded: LoadedModel, prepared: PreparedInputs, n_patches: int | None) -> AxisLabels:
    """The labels of a trace's positions.

    Args:
        n_patches: positions of the image tower, from its first layer; None if there is none.
    """
    pixels = prepared.tensors.get("pixel_values")
    grid = patches_of(loaded.module, pixels, n_patches) if n_patches else ()
    n_images = math.prod(pixels.shape[:-3]) if pixels is not None and pixels.ndim > 3 else 0
    decode = partial(_decoded, loaded.tokenizer)
    ids = (_ids(loaded, prepared.tensors, name) for name in _TEXTS)
    source, target = (
        BatchTokens(first, rows, decode)
        for first, rows in zip((prepared.tokens, prepared.target_tokens), ids, strict=True)
    )
    return AxisLabels(source, target, grid, prepared.batch, n_images, _has_decoder(loaded))


def _ready(loaded: LoadedModel, inputs: dict[str, Tensor]) -> PreparedInputs:
    if not inputs:
        raise AttnVizError("The inputs are empty.", 'Give tensors such as {"input_ids": ids}.')
    tensors = {k: v.to(loaded.device) if isinstance(v, Tensor) else v for k, v in inputs.items()}
    for name in _TEXTS:
        if isinstance(tensors.get(name), Tensor) and not tensors[name].numel():
            raise AttnVizError(f"The {name} contain no tokens.", "Pass at least one.")
    ids, target_ids = (_ids(loaded, tensors, name) for name in _TEXTS)
    tokens, target = (
        () if rows is None else tokens_of(loaded, rows[0].tolist()) for rows in (ids, target_ids)
    )
    return PreparedInputs(tensors, tokens, target, _batch(loaded, tensors, ids))


def _batch(loaded: LoadedModel, tensors: dict[str, Tensor], ids: Tensor | None) -> int:
    """The number of items in the input."""
    if ids is not None:
        return len(ids)
    given = {k: v for k, v in tensors.items() if isinstance(v, Tensor) and v.ndim}
    if not given:
        raise AttnVizError(
            "The inputs contain no tensor.", 'Give some, such as {"input_ids": ids}.'
        )
    named = ("input_ids", "inputs_embeds", "attention_mask", "decoder_input_ids", "pixel_values")
    name = next((n for n in named if n in given), next(iter(given)))
    return max(1, len(given[name]) // _codebooks(loaded, name))


def _ids(loaded: LoadedModel, tensors: dict[str, Tensor], name: str) -> Tensor | None:
    """(items, n): the text of an input; each choice of a multiple choice is an item.

    None if there is no text, or if the ids are audio codes.
    """
    ids = tensors.get(name)
    if ids is None or ids.ndim < 2 or not len(ids) or _codebooks(loaded, name) > 1:
        return None
    if name == "decoder_input_ids" and not _has_decoder(loaded):
        return None
    if ids.ndim == 2:
        return ids
    chooses = re.search("MultipleChoice|DoubleHeads", type(loaded.module).__name__)
    return ids.flatten(0, -2) if chooses else None  # others have an axis of codebooks


def _codebooks(loaded: LoadedModel, name: str) -> int:
    """How many rows of ids one item has: MusicGen has one per codebook."""
    config = loaded.module.config
    if not config.model_type.startswith("musicgen"):
        return 1
    if name == "decoder_input_ids":
        config = getattr(config, "decoder", config)
    return int(getattr(config, "num_codebooks", 1)) if name.endswith("input_ids") else 1


def _has_decoder(loaded: LoadedModel) -> bool:
    """Whether a decoder reads a text of its own; DETR's reads learned queries."""
    module = loaded.module
    takes_text = "decoder_input_ids" in inspect.signature(module.forward).parameters
    return takes_text and bool(getattr(module.config, "is_encoder_decoder", False))


def _no_decoder(loaded: LoadedModel) -> AttnVizError:
    return AttnVizError(
        f"{loaded.name} has no decoder that takes a target text.",
        "Omit target, or choose an encoder-decoder model.",
    )


def _decoder_input(loaded: LoadedModel, target: str | None) -> tuple[Tensor, tuple[Token, ...]]:
    """(1, n): the decoder's start token followed by the target, and their tokens."""
    config = loaded.module.config
    start = getattr(config, "decoder_start_token_id", None)
    if start is None:
        start = loaded.module.generation_config.decoder_start_token_id  # type: ignore[union-attr]
    if start is None:
        named = (getattr(config, name, None) for name in ("bos_token_id", "pad_token_id"))
        start = next((i for i in named if i is not None), 0)
    begin = tokens_of(loaded, [int(start)])
    if not target:
        return torch.tensor([[start]], device=loaded.device), begin
    tensors, tokens = encode(loaded, target)
    ids = tensors["input_ids"]
    # the end token is the decoder's last prediction, not part of its input
    if len(tokens) > 1 and tokens[-1].special:
        ids, tokens = ids[:, :-1], tokens[:-1]
    if tokens and tokens[0].special and tokens[0].id == start:
        return ids, tokens
    first = torch.tensor([[start]], device=ids.device)
    return torch.cat([first, ids], dim=1), (*begin, *tokens)


def _image(loaded: LoadedModel, image: Any, text: str | None, target: str | None) -> PreparedInputs:
    processor, name = loaded.processor, loaded.name
    if processor is None:
        raise AttnVizError(
            f"{name} has no image processor, so it cannot read images.",
            "Add its files to the folder (preprocessor_config.json) and try again, or pass tensors "
            "as inputs.",
        )
    images = [as_rgb(one) for one in (image if isinstance(image, list | tuple) else [image])]
    given: dict[str, Any] = {"images": images, "return_tensors": "pt"}
    if text is not None:
        if not isinstance(processor, ProcessorMixin):
            raise AttnVizError(
                f"{name} has an image processor only, so it cannot read text with an image.",
                "Omit the text, or pass a processor for both to attnviz.wrap.",
            )
        given["text"] = [text]
    accepted = inspect.signature(loaded.module.forward).parameters
    tensors = {
        k: v.to(loaded.dtype) if isinstance(v, Tensor) and v.is_floating_point() else v
        for k, v in processor(**given).items()
        if k in accepted
    }
    if _has_decoder(loaded):
        tensors["decoder_input_ids"], _ = _decoder_input(loaded, target)
    elif target is not None:
        raise _no_decoder(loaded)
    return replace(_ready(loaded, tensors), image=images[0] if len(images) == 1 else None)
