"""What a processor does to an image, as it was measured, against what its settings say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.mobilevit.image_processing_pil_mobilevit import (
    MobileViTImageProcessorPil,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from attnviz.errors import AttnVizError
from attnviz.models.image_geometry import Box, measure

SIZES = [(640, 427), (427, 640), (224, 224), (1999, 900), (100, 50)]


def stretched(size: tuple[int, int], side: int, crop: int) -> Box:
    """Resized to a square of ``side``, then the middle ``crop`` of it."""
    (w, h), start = size, (side - crop) // 2
    return (
        start * w / side,
        start * h / side,
        (start + crop) * w / side,
        (start + crop) * h / side,
    )


def shortest(size: tuple[int, int], side: int, crop: int) -> Box:
    """Resized so that the shorter side is ``side``, then the middle ``crop``."""
    w, h = size
    new = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
    left, top = (new[0] - crop) // 2, (new[1] - crop) // 2
    x, y = w / new[0], h / new[1]
    return (left * x, top * y, (left + crop) * x, (top + crop) * y)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["vit", "deit", "dinov2", "clip"])
def test_the_box_is_what_the_settings_say(name: str, size: tuple[int, int]) -> None:
    processor, expected = {
        "vit": (ViTImageProcessorPil(), stretched(size, 224, 224)),
        "deit": (DeiTImageProcessorPil(), stretched(size, 256, 224)),
        "dinov2": (
            BitImageProcessorPil(
                size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}
            ),
            shortest(size, 256, 224),
        ),
        "clip": (CLIPImageProcessorPil(), shortest(size, 224, 224)),
    }[name]
    found = measure(processor, size)
    assert found.input_size == (224, 224) and found.content == (0, 0, 224, 224)
    scale = max(found.box[2] - found.box[0], found.box[3] - found.box[1]) / 224
    assert found.box == pytest.approx(expected, abs=0.5 * scale)  # half a pixel of the input
    assert found.channels == (0, 1, 2) and not found.is_inverted and not found.is_padded
    assert found.is_cropped == (expected != (0, 0, *size))


def test_a_crop_larger_than_the_image_pads_it() -> None:
    processor = BitImageProcessorPil(do_resize=False, crop_size={"height": 64, "width": 96})
    found = measure(processor, (40, 30))
    assert found.content == (28, 17, 68, 47)
    assert found.box == (-28, -17, 68, 47)
    assert found.is_padded and not found.is_cropped


def test_channels_in_another_order_come_back_in_red_green_blue() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    processor = MobileViTImageProcessorPil(size={"shortest_edge": 256}, do_center_crop=False)
    found = measure(processor, image.size)
    assert found.channels == (2, 1, 0)
    pixels = processor(images=[image], return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(found.to_bytes(pixels), np.asarray(image))


@pytest.mark.parametrize("mean", [[0.5] * 3, [0.485, 0.456, 0.406]])
def test_the_pixels_are_those_that_the_processor_normalized(mean: list[float]) -> None:
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (120, 200, 3), dtype=np.uint8))
    processor = ViTImageProcessorPil(
        size={"height": 32, "width": 48}, image_mean=mean, image_std=[0.2, 0.3, 0.25]
    )
    found = measure(processor, image.size)
    pixels = processor(images=[image], return_tensors="np")["pixel_values"][0]
    resized = image.resize((48, 32), Image.Resampling(processor.resample))
    np.testing.assert_array_equal(found.to_bytes(pixels), np.asarray(resized))


class OwnProcessor:
    """Gray, light on dark to dark on light: a processor of no known kind."""

    def __init__(self, copies: int = 1) -> None:
        self.copies = copies

    def __call__(self, images: list[Image.Image], return_tensors: str) -> dict[str, Any]:
        gray = np.asarray(images[0].convert("L").crop((10, 0, 42, 32)), dtype=np.float32)
        return {"pixel_values": np.stack([1 - gray[None] / 255] * self.copies)}


def test_a_gray_inverted_crop_is_found() -> None:
    found = measure(OwnProcessor(), (64, 32))
    assert found.is_inverted and found.is_cropped
    assert found.channels == () and found.input_size == (32, 32)
    assert found.box == pytest.approx((10, 0, 42, 32), abs=0.5)
    # as the model got it: light where it got light, not as the image was
    white = OwnProcessor()([Image.new("RGB", (64, 32), "white")], "np")["pixel_values"][0]
    assert found.to_bytes(white).shape == (32, 32, 3)
    assert (found.to_bytes(white) == 0).all()


def test_an_image_that_is_cut_into_several_has_no_geometry() -> None:
    with pytest.raises(AttnVizError, match="several"):
        measure(OwnProcessor(copies=2), (64, 32))
