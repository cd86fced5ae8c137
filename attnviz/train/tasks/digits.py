"""Handwritten digits, 8 x 8 pixels, classified by a small vision transformer.

The 1,797 images come with scikit-learn (Alpaydin and Kaynak, UCI 1998).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from attnviz.errors import AttnVizError
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.training_setup import Batch, ProbeExample, batch_generator, shuffled_epochs

SIDE = 8  # pixels
MAX_PIXEL = 16  # of scikit-learn's values
HELD_OUT = 360  # a fifth
EVALUATION_BATCH = 120


def load_images() -> tuple[Tensor, Tensor]:
    """(1797, 8, 8) pixels from 0 to 1, and (1797,) digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images / MAX_PIXEL).float()
    return pixels, torch.from_numpy(digits.target).long()


def as_image(pixels: Tensor) -> Image.Image:
    """(8, 8) pixels as a PIL image, for the processor."""
    return Image.fromarray((pixels * 255).round().to(torch.uint8).numpy()).convert("RGB")


def has_ink(image: Image.Image, patch: int) -> tuple[bool, ...]:
    """For each patch, row by row, whether it is brighter than the image is on average."""
    pixels = torch.tensor(list(image.convert("L").tobytes()), dtype=torch.float32).view(SIDE, SIDE)
    means = pixels.unfold(0, patch, patch).unfold(1, patch, patch).mean((2, 3))  # (side, side)
    return tuple((means > pixels.mean()).flatten().tolist())


def _make_data(
    options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
) -> TaskData:
    patch = options["patch"]
    if patch not in (1, 2, 4):
        raise AttnVizError(f"Patches of {patch} pixels do not fill 8.", "Choose 1, 2 or 4.")
    pixels, labels = load_images()
    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    # what the processor returns: rounded to bytes, from -1 to 1, three equal channels
    values = ((pixels * 255).round() / 255 - 0.5) / 0.5
    values = values[:, None].expand(-1, 3, -1, -1).contiguous()  # (N, 3, 8, 8)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    held_out, train = order[:HELD_OUT], order[HELD_OUT:]
    originals = shuffled_epochs(
        {"pixel_values": values[train], "labels": labels[train]}, schedule.seed
    )

    def get_batch(indices: Sequence[int]) -> Batch:
        batch = originals(indices)
        generator = batch_generator(schedule.seed, indices)
        return {**batch, "pixel_values": shift_randomly(batch["pixel_values"], generator)}

    return TaskData(
        tokenizer=None,
        get_batch=get_batch,
        held_out=tuple(
            {"pixel_values": values[part], "labels": labels[part]}
            for part in held_out.split(EVALUATION_BATCH)
        ),
        probe=ProbeExample(image=as_image(pixels[held_out[0]])),
        label_alignment="class",
        module=_vision_transformer(model_options, patch),
        processor=processor,
        make_probe=lambda text: ProbeExample(image=as_image(pixels[held_out[_image_index(text)]])),
    )


def _image_index(text: str) -> int:
    """The index of a held-out image, from the setting ``probe``."""
    if not (text.isdecimal() and int(text) < HELD_OUT):
        raise AttnVizError(
            f"There is no held-out picture {text[:20]!r}.", f"Choose 0 to {HELD_OUT - 1}."
        )
    return int(text)


def shift_randomly(images: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 3, 8, 8): each image shifted by up to one pixel in both directions, filled with black."""
    shifts = torch.randint(0, 3, (len(images), 2), generator=generator)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), value=-1.0)  # (n, 3, 10, 10)
    rows = shifts[:, :1] + torch.arange(SIDE)  # (n, 8)
    columns = shifts[:, 1:] + torch.arange(SIDE)
    image = torch.arange(len(images))[:, None, None]
    shifted = padded[image, :, rows[:, :, None], columns[:, None, :]]  # (n, 8, 8, 3)
    return shifted.permute(0, 3, 1, 2).contiguous()  # (n, 3, 8, 8)


def _vision_transformer(options: dict[str, Any], patch: int) -> ViTForImageClassification:
    """A ViT; of `TransformerConfig`'s options it takes the sizes, dropout and the seed."""
    known = {"d_model", "n_heads", "n_layers", "feed_forward_size", "dropout", "seed"}
    if unknown := sorted(set(options) - known):
        raise AttnVizError(
            f"The vision transformer has no setting {unknown[0]!r}.",
            f"It has {', '.join(sorted(known))}.",
        )
    width, heads = options["d_model"], options["n_heads"]
    if width % heads:
        raise AttnVizError(
            f"{heads} heads do not divide d_model = {width}.", "Choose numbers that do."
        )
    config = ViTConfig(
        image_size=SIDE,
        patch_size=patch,
        num_channels=3,
        hidden_size=width,
        num_attention_heads=heads,
        num_hidden_layers=options["n_layers"],
        intermediate_size=options.get("feed_forward_size") or 4 * width,
        initializer_range=width**-0.5,  # the usual 0.02 suits wide models and starts slowly here
        hidden_dropout_prob=options.get("dropout", 0.0),
        id2label={i: str(i) for i in range(10)},
        label2id={str(i): i for i in range(10)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options["seed"])
        return ViTForImageClassification(config)


DIGITS = Task(
    name="digits",
    title="Handwritten digits",
    description="Classifies 8×8 handwritten digits with a small vision transformer.",
    goal=0.95,
    measure="accuracy",
    options={"patch": 2},
    model={"d_model": 64, "n_heads": 4, "n_layers": 3},
    schedule=Schedule(steps=1500, batch_size=64, learning_rate=1e-3),
    make_data=_make_data,
)
