"""Handwritten digits, 8 x 8 pixels, read by a small vision transformer.

The images come with scikit-learn (Alpaydin and Kaynak, UCI 1998): 1,797 of them.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from attnviz.errors import AttnVizError
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.training_setup import Batch, ProbeExample, shuffled

SIDE = 8
BRIGHTEST = 16  # of a pixel, as scikit-learn gives them
HELD_OUT = 360  # a fifth


def pictures() -> tuple[Tensor, Tensor]:
    """(1797, 8, 8) pixels from 0 to 1, and (1797,) digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = torch.from_numpy(digits.images / BRIGHTEST).float()
    return pixels, torch.from_numpy(digits.target).long()


def as_image(pixels: Tensor) -> Image.Image:
    """One digit as a picture that the processor reads."""
    return Image.fromarray((pixels * 255).round().to(torch.uint8).numpy()).convert("RGB")


def _lesson(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
    patch = options["patch"]
    if patch not in (1, 2, 4):
        raise AttnVizError(f"Patches of {patch} pixels do not fill 8.", "Choose 1, 2 or 4.")
    pixels, labels = pictures()
    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    # rounded to bytes as a picture is, three equal channels, -1 to 1: what the processor gives
    values = ((pixels * 255).round() / 255 - 0.5) / 0.5
    values = values[:, None].expand(-1, 3, -1, -1).contiguous()  # (N, 3, 8, 8)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    kept, train = order[:HELD_OUT], order[HELD_OUT:]
    examples = shuffled({"pixel_values": values[train], "labels": labels[train]}, schedule.seed)

    def draw(indices: Any) -> Batch:
        batch = examples(indices)
        generator = torch.Generator().manual_seed(schedule.seed * 1_000_003_000 + indices[0])
        return {**batch, "pixel_values": moved(batch["pixel_values"], generator)}

    return TaskData(
        tokenizer=None,
        draw=draw,
        held_out=tuple(
            {"pixel_values": values[part], "labels": labels[part]} for part in kept.split(120)
        ),
        probe=ProbeExample(image=as_image(pixels[kept[0]])),
        predicts="class",
        module=_transformer(model, patch),
        processor=processor,
        choose=lambda place: ProbeExample(image=as_image(pixels[kept[_place(place)]])),
    )


def _place(words: str) -> int:
    """Which of the held-out pictures."""
    if not (words.isdecimal() and int(words) < HELD_OUT):
        raise AttnVizError(
            f"There is no held-out picture {words[:20]!r}.", f"Choose 0 to {HELD_OUT - 1}."
        )
    return int(words)


def moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """(n, 3, 8, 8): each image by up to one pixel in both directions, black coming in."""
    shifts = torch.randint(0, 3, (len(images), 2), generator=generator)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), value=-1.0)
    rows = shifts[:, :1] + torch.arange(SIDE)  # (n, 8)
    columns = shifts[:, 1:] + torch.arange(SIDE)
    which = torch.arange(len(images))[:, None, None]
    out = padded[which, :, rows[:, :, None], columns[:, None, :]]  # (n, 8, 8, 3)
    return out.permute(0, 3, 1, 2).contiguous()  # (n, 3, 8, 8)


def _transformer(model: dict[str, Any], patch: int) -> ViTForImageClassification:
    """A ViT of the given size; of our own settings it knows the sizes, dropout and seed."""
    known = {"d_model", "n_heads", "n_layers", "feed_forward_size", "dropout", "seed"}
    if unknown := sorted(set(model) - known):
        raise AttnVizError(
            f"The vision transformer has no setting {unknown[0]!r}.",
            f"It has {', '.join(sorted(known))}.",
        )
    width, heads = model["d_model"], model["n_heads"]
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
        num_hidden_layers=model["n_layers"],
        intermediate_size=model.get("feed_forward_size") or 4 * width,
        initializer_range=width**-0.5,  # 0.02 is for wide ones, and a slow start here
        hidden_dropout_prob=model.get("dropout", 0.0),
        id2label={i: str(i) for i in range(10)},
        label2id={str(i): i for i in range(10)},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(model["seed"])
        return ViTForImageClassification(config)


DIGITS = Task(
    name="digits",
    title="Handwritten digits",
    description="Reads handwritten digits of 8 by 8 pixels, a small vision transformer.",
    goal=0.95,
    measure="accuracy",
    options={"patch": 2},
    model={"d_model": 64, "n_heads": 4, "n_layers": 3},
    schedule=Schedule(steps=1500, batch_size=64, learning_rate=1e-3),
    lesson=_lesson,
)
