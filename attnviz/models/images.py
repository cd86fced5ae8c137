"""Images in the form that a model's processor takes: 8-bit RGB, upright, over white.

Images from a program and uploaded ones are converted in the same way.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from attnviz.errors import AttnVizError

_ORIENTATION = 0x0112  # the EXIF tag
MAX_PIXELS = 50_000_000
# Processors enlarge the shorter side to the model's input size, and the longer one with it.
MAX_ASPECT = 100
_CHANGES = "changes"  # in an image's info: what `as_rgb` did to it, in words
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # not EPS, which Pillow runs a program for


def open_image(data: bytes) -> Image.Image:
    """The image in a file's bytes, converted by `as_rgb`; the first frame of an animation.

    Raises:
        AttnVizError: not an image in one of `FORMATS`, damaged, or too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return as_rgb(image)
    except AttnVizError:
        raise
    except Exception as error:  # decoders raise many kinds on damaged files
        raise _unreadable() from error


def as_rgb(image: Any) -> Image.Image:
    """An 8-bit RGB image: turned by its EXIF orientation, transparency over white, gray rescaled.

    A 16-bit gray image is scaled from 0..65,535. 32-bit integers and floats have no fixed range, so
    it is taken from the values: 0..1 (floats only) if they fit, else 0..255, else 0..65,535, else
    from the lowest to the highest.

    Args:
        image: a PIL image, or an array (h, w), (h, w, 3) or (h, w, 4) that PIL takes.

    Raises:
        AttnVizError: not an image, damaged, or too large.
    """
    if isinstance(image, np.ndarray):
        try:
            image = Image.fromarray(image)
        except (TypeError, ValueError) as error:
            raise AttnVizError(
                f"An array of shape {image.shape} and type {image.dtype} is not an image.",
                "Give bytes of shape (height, width, 3), or a PIL image.",
            ) from error
    if not isinstance(image, Image.Image):
        raise AttnVizError(
            f"A {type(image).__name__} is not an image.", "Give a PIL image, or tensors as inputs."
        )
    _check_size(*image.size)
    try:
        image.load()
        changes = changes_of(image) + _changes(image)
        converted = _to_rgb(_upright(image))
        converted.info = {_CHANGES: changes}
        return converted
    except Exception as error:  # decoders raise many kinds on damaged files
        raise _unreadable() from error


def changes_of(image: Image.Image) -> tuple[str, ...]:
    """What `as_rgb` did to an image that it returned, in words; nothing for an 8-bit RGB image."""
    changes: tuple[str, ...] = image.info.get(_CHANGES, ())
    return changes


def _changes(image: Image.Image) -> tuple[str, ...]:
    """What `as_rgb` will do to an image, in words."""
    done = []
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        done.append("turned upright as its EXIF orientation says")
    if image.mode.startswith("I") or image.mode == "F":
        done.append("scaled to 8 bits")
    if image.has_transparency_data:
        done.append("transparent parts put on white")
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        done.append("gray repeated as red, green and blue")
    elif image.mode not in ("RGB", "RGBA"):
        done.append("converted to RGB")
    return tuple(done)


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise AttnVizError("The image has no pixels.", "Choose another.")
    if width * height > MAX_PIXELS:
        raise AttnVizError(
            f"The image is {width:,} × {height:,} pixels.",
            f"Use one under {MAX_PIXELS // 1_000_000} megapixels.",
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise AttnVizError(
            f"The image is {width:,} × {height:,} pixels, too narrow to show.",
            "Crop it.",
        )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels are of use without readable EXIF
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """The image in RGB, from any mode."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_gray_bytes(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _gray_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    """Gray values (h, w) of another range as bytes; values that are not finite become black."""
    x = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(x.min()), float(x.max())
    if mode.startswith("I;16"):
        low, high = 0.0, 65_535.0
    elif low >= 0 and high <= 65_535:
        tops = (1.0, 255.0, 65_535.0) if mode == "F" else (255.0, 65_535.0)
        low, high = 0.0, next(top for top in tops if high <= top)
    scaled = (x - low) / ((high - low) or 1.0)
    return np.rint(scaled * 255).astype(np.uint8)


def _unreadable() -> AttnVizError:
    return AttnVizError("The file is not an image that can be read.", "Use PNG or JPEG.")
