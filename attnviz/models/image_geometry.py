"""What an image processor does to an image: crop, resizing, padding, normalization.

It is measured: the processor is given test images of the same size. So it holds for any processor,
whatever its settings are called.

    geometry = measure(processor, (640, 427))
    geometry.box                     # (106.5, 0.0, 533.5, 427.0): the middle square is what is seen
    geometry.to_bytes(pixel_values)  # the pixels that the model got, before they were normalized
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from attnviz.errors import AttnVizError

Box = tuple[float, float, float, float]  # left, top, right, bottom

_SNAP = 0.75  # of what can be told apart: an edge this close to the image's is the image's
_INNER = 0.25  # of a ramp's length at either end: filters bend it there
_BLUE = 0.4  # of the ramps, constant
_TILT = 0.1  # of a ramp towards the other side: rounding to bytes then differs from row to row
_SAME = 1e-6  # between a black and a white pixel: padding


@dataclass(frozen=True)
class ImageGeometry:
    """How an image becomes a model's input.

    Attributes:
        size: (width, height) of the upright image. input_size: (width, height) of the input.
        box: the part of the image that fills the input, in pixels of the image. It reaches beyond
            the image where the input is padded. Right of ``left`` always, unless mirrored.
        content: the part of the input that shows the image, in pixels of the input; the rest is
            padding.
        black, white: (C,) the values of a black and of a white pixel.
        channels: which of red (0), green (1) and blue (2) each channel shows; empty if it mixes
            them, as grayscale does.
    """

    size: tuple[int, int]
    input_size: tuple[int, int]
    box: Box
    content: tuple[int, int, int, int]
    black: np.ndarray
    white: np.ndarray
    channels: tuple[int, ...]

    @property
    def is_inverted(self) -> bool:
        """Whether light becomes dark."""
        return bool((self.white < self.black).all())

    @property
    def is_cropped(self) -> bool:
        """Whether the model does not see all of the image."""
        left, top, right, bottom = self.box
        return left > 0 or top > 0 or right < self.size[0] or bottom < self.size[1]

    @property
    def is_padded(self) -> bool:
        """Whether some of the input is not of the image."""
        return self.content != (0, 0, *self.input_size)

    def to_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8: pixel values (C, h, w) before normalization, in red, green and blue."""
        scale = np.where(self.white == self.black, 1.0, np.abs(self.white - self.black))
        lowest = np.minimum(self.white, self.black)
        values = (pixels - lowest[:, None, None]) / scale[:, None, None]
        x = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
        if sorted(self.channels) == [0, 1, 2]:
            x = x[[self.channels.index(c) for c in range(3)]]
        return np.ascontiguousarray(np.broadcast_to(x[:3], (3, *x.shape[1:])).transpose(1, 2, 0))


def measure(processor: Any, size: tuple[int, int]) -> ImageGeometry:
    """The geometry of a processor for images of one size.

    Args:
        processor: called with ``images=[image]``, it gives ``pixel_values``.
        size: (width, height) of the upright image.

    Raises:
        AttnVizError: it does more than crop, resize, pad and normalize.
    """
    width, height = size
    black, white = (_run(processor, Image.new("RGB", size, color)) for color in ("black", "white"))
    seen = (np.abs(white - black) > _SAME).all(axis=0)  # (h, w)
    if not seen.any():
        raise AttnVizError("The processor's crop could not be measured.", "")
    rows, cols = np.nonzero(seen.any(axis=1))[0], np.nonzero(seen.any(axis=0))[0]
    content = (int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1)
    at = slice(content[1], content[3]), slice(content[0], content[2])
    dark, light = (np.median(image[:, *at], axis=(1, 2)) for image in (black, white))

    def shares(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
        """(C, h, w) from 0 to 1: how light the content is for an image of these channels."""
        image = np.rint(np.stack([red, green, blue], axis=-1) * 255).astype(np.uint8)
        values = _run(processor, Image.fromarray(image))[:, *at]
        return np.asarray((values - dark[:, None, None]) / (light - dark)[:, None, None])

    y, x = ((np.arange(n) + 0.5) / n for n in (height, width))  # from 0 to 1
    mostly_x = (1 - _TILT) * x + _TILT * y[:, None]
    mostly_y = _TILT * x + (1 - _TILT) * y[:, None]
    both = shares(mostly_x, mostly_y, np.full_like(mostly_x, _BLUE))
    channels = _channels(both)
    if channels:
        u, v = both[channels.index(0)], both[channels.index(1)]
    else:
        u, v = (shares(a, a, a).mean(axis=0) for a in (mostly_x, mostly_y))
    along_x = (((1 - _TILT) * u - _TILT * v) / (1 - 2 * _TILT)).mean(axis=0)
    along_y = (((1 - _TILT) * v - _TILT * u) / (1 - 2 * _TILT)).mean(axis=1)
    left, right = _edges(along_x, width, content[0], black.shape[2])
    top, bottom = _edges(along_y, height, content[1], black.shape[1])
    return ImageGeometry(
        size=size,
        input_size=(black.shape[2], black.shape[1]),
        box=(left, top, right, bottom),
        content=content,
        black=dark,
        white=light,
        channels=channels,
    )


def _run(processor: Any, image: Image.Image) -> np.ndarray:
    """(C, h, w): the model's input for an image."""
    pixels = np.asarray(processor(images=[image], return_tensors="np")["pixel_values"])
    if pixels.ndim != 4 or len(pixels) != 1:
        raise AttnVizError("The processor cuts the image into several.", "")
    return np.asarray(pixels[0], dtype=np.float64)


def _edges(shares: np.ndarray, n: int, start: int, n_input: int) -> tuple[float, float]:
    """Where the input's first and last edge lie along one side of the image, in its pixels.

    Args:
        shares: where each pixel of the content comes from, from 0 to 1.
        n: the image's pixels. start: the content's first pixel. n_input: the input's pixels.
    """
    length, stop = len(shares), start + len(shares)
    if start > 0 and stop < n_input:  # padded on both sides: all of the image is there
        scale = n / length
        return -start * scale, (n_input - start) * scale
    inner = round(length * _INNER)
    inner = inner if length - 2 * inner >= 2 else 0
    known = np.arange(inner, length - inner)
    if len(known) < 2 or n < 2:
        return -start * n / length, (n_input - start) * n / length
    scale, offset = (float(x) for x in np.polyfit(start + known + 0.5, shares[known] * n, 1))
    first, last = offset, offset + scale * n_input
    near = _SNAP * (abs(scale) + n / 255)
    if start == 0 and abs(first) < near:
        first = 0.0
    if stop == n_input and abs(last - n) < near:
        last = float(n)
    return first, last


def _channels(shares: np.ndarray) -> tuple[int, ...]:
    """Which channel each channel of the input shows: red grows along x, green more along y."""
    if len(shares) != 3:
        return ()
    found = []
    for share in shares:
        grows_x, grows_y = (float(np.ptp(share.mean(axis=axis))) for axis in (0, 1))
        found.append(2 if max(grows_x, grows_y) < 0.02 else int(grows_y > grows_x))
    return tuple(found) if set(found) == {0, 1, 2} else ()
