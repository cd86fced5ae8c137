"""Images of every format and mode reach the model as they look on screen."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

import attnviz
from attnviz import AttnVizError
from attnviz.models.images import as_rgb, changes_of, open_image


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


RAMP = np.linspace(0, 1, 64).reshape(8, 8)  # gray from black to white
EIGHT_BITS = np.rint(RAMP * 255).astype(int)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(Image.fromarray((RAMP * 255).round().astype(np.uint8))), id="8 bits"),
        pytest.param(saved(Image.fromarray((RAMP * 65535).astype(np.uint16))), id="16 bits"),
        pytest.param(
            saved(Image.fromarray((RAMP * 65535).astype(np.int32)), "TIFF"), id="32-bit integers"
        ),
        pytest.param(saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), id="floats to 1"),
        pytest.param(
            saved(Image.fromarray((RAMP * 255).astype(np.float32)), "TIFF"), id="floats to 255"
        ),
        pytest.param(
            saved(Image.fromarray((RAMP * 9 - 4).astype(np.float32)), "TIFF"), id="other floats"
        ),
        pytest.param(
            saved(Image.fromarray((RAMP * 255).round().astype(np.uint8)).convert("P")), id="palette"
        ),
    ],
)
def test_gray_of_any_depth_keeps_its_shades(data: bytes) -> None:
    seen = pixels(open_image(data))
    # 65,535 truncated to 16 bits and back, or a palette of 255 grays, may round the other way
    assert np.abs(seen - EIGHT_BITS[..., None]).max() <= 1


def test_an_image_is_turned_by_its_exif_orientation() -> None:
    picture = Image.new("RGB", (4, 2), "black")
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    seen = open_image(saved(picture, exif=exif))
    assert seen.size == (2, 4)
    assert seen.getpixel((1, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_shows_white(mode: str) -> None:
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 2, 4))
    if mode in ("PA", "P"):
        picture = picture.quantize(8)  # a palette with transparency
    else:
        picture = picture.convert(mode)
    seen = pixels(as_rgb(picture))
    assert (seen[:, :2] == 0).all() and (seen[:, 2:] == 255).all()


def test_half_transparent_lies_over_white() -> None:
    seen = pixels(as_rgb(Image.new("RGBA", (1, 1), (200, 0, 0, 128))))
    assert np.abs(seen[0, 0] - (255 - (255 - np.array([200, 0, 0])) * 128 / 255)).max() <= 1


def test_ink_becomes_light_and_an_animation_its_first_frame() -> None:
    seen = open_image(saved(Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(pixels(seen) - [255, 0, 0]).max() <= 8  # JPEG rounds
    frames = [Image.new("RGB", (2, 2), color) for color in ("blue", "lime")]
    film = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels(open_image(film)) == [0, 0, 255]).all()


def test_what_was_done_to_an_image_is_said_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = open_image(saved(Image.new("RGB", (4, 2)), exif=exif))
    assert changes_of(turned) == ("turned upright as its EXIF orientation says",)
    assert changes_of(as_rgb(turned)) == changes_of(turned)
    assert changes_of(as_rgb(Image.new("RGB", (4, 2)))) == ()
    assert changes_of(as_rgb(Image.new("RGBA", (4, 2)))) == ("transparent parts put on white",)
    assert changes_of(as_rgb(Image.new("CMYK", (4, 2)))) == ("converted to RGB",)
    assert changes_of(open_image(saved(Image.fromarray((RAMP * 65535).astype(np.uint16))))) == (
        "scaled to 8 bits",
        "gray repeated as red, green and blue",
    )


def test_a_plain_image_keeps_its_bits_and_is_not_changed() -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(values)
    assert np.array_equal(as_rgb(picture), values)
    assert np.array_equal(as_rgb(values), values)
    assert np.array_equal(picture, values)


def jpeg_of(cut: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return saved(Image.fromarray(noise), "JPEG")[:cut]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not an image"),
        (b"\x89PNG nothing more", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (jpeg_of(2000), "not an image"),
        (saved(Image.new("1", (8000, 7000))), "megapixels"),
        (saved(Image.new("1", (30_000, 2))), "narrow"),
    ],
    ids=["empty", "header", "program", "cut", "large", "strip"],
)
def test_what_is_not_an_image_is_an_error_message(data: bytes, says: str) -> None:
    with pytest.raises(AttnVizError, match=says):
        open_image(data)


@pytest.mark.parametrize("what", ["http://example.com/cat.png", 7, np.zeros((2, 2, 9, 9))])
def test_other_things_are_no_images(what: Any) -> None:
    with pytest.raises(AttnVizError, match="not an image"):
        as_rgb(what)


def test_a_model_sees_the_same_image_in_any_mode() -> None:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=8,
    )  # fmt: skip
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    model = attnviz.wrap(ViTForImageClassification(config).eval(), processor=processor)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    plain = Image.fromarray(noise).convert("RGB")
    truth = model.trace(image=plain).logits
    opaque, deep = plain.convert("RGBA"), Image.fromarray(noise.astype(np.uint16) * 257)
    for same in (opaque, deep, Image.fromarray(noise)):
        assert torch.equal(model.trace(image=same).logits, truth)
    with pytest.raises(AttnVizError, match="not an image"):
        model.trace(image="http://example.com/cat.png")
