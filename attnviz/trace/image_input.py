"""The image that a trace was made of: as it was given, and as the model got it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from transformers import ProcessorMixin

from attnviz.models.image_geometry import ImageGeometry, measure
from attnviz.models.images import changes_of
from attnviz.trace.patch_layout import PatchLayout

LONGEST_SIDE = 512  # px of the image that is kept for drawing
_ALIKE = 32  # of 255, the difference of an image and its input, averaged over coarse squares
_SQUARES = 8


@dataclass(frozen=True, eq=False)
class ImageInput:
    """One image in a model.

    Attributes:
        pixels: (C, h, w) float32, the values that the model got.
        layout: its patches among the positions; None if they are no grid.
        given: (h, w, 3) uint8, upright, at most ``LONGEST_SIDE`` long; None if the model was given
            tensors.
        size: (width, height) of the upright image in full.
        changes: what was done to the file before any processing, in words.
        processor: the model's, by which the geometry is measured.
    """

    pixels: np.ndarray
    layout: PatchLayout | None
    given: np.ndarray | None = None
    size: tuple[int, int] = (0, 0)
    changes: tuple[str, ...] = ()
    processor: Any = None

    @cached_property
    def geometry(self) -> ImageGeometry | None:
        """How the image became the input; None if there is no image, or if that isn't known."""
        if self.given is None or self.processor is None:
            return None
        try:
            found = measure(self.processor, self.size)
        except Exception:  # a processor with requirements of its own
            return None
        height, width = self.pixels.shape[1:]
        return found if found.input_size == (width, height) and self._fits(found) else None

    @cached_property
    def seen(self) -> np.ndarray:
        """(h, w, 3) uint8: the model's input, as pixels.

        Without a geometry, the lowest value is black and the highest white.
        """
        if self.geometry is not None:
            return self.geometry.to_bytes(self.pixels)
        low, high = float(self.pixels.min()), float(self.pixels.max())
        x = np.rint((self.pixels - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
        return np.ascontiguousarray(
            np.broadcast_to(x[:3] if len(x) >= 3 else x[:1], (3, *x.shape[1:])).transpose(1, 2, 0)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.pixels.nbytes + (0 if self.given is None else self.given.nbytes)

    def _fits(self, geometry: ImageGeometry) -> bool:
        """Whether the input is this part of the image: some processors crop by what they see."""
        assert self.given is not None
        whole = Image.fromarray(self.given)
        left, top, right, bottom = geometry.box
        x, y = whole.width / geometry.size[0], whole.height / geometry.size[1]
        part = (
            max(0.0, left * x), max(0.0, top * y),
            min(float(whole.width), right * x), min(float(whole.height), bottom * y),
        )  # fmt: skip
        if part[0] >= part[2] or part[1] >= part[3]:
            return False  # mirrored, or nothing of it
        squares = (_SQUARES, _SQUARES)
        expected = whole.resize(squares, Image.Resampling.BOX, box=part)
        x0, y0, x1, y1 = geometry.content
        content = Image.fromarray(geometry.to_bytes(self.pixels)[y0:y1, x0:x1])
        got = content.resize(squares, Image.Resampling.BOX)
        apart = np.asarray(expected, np.float64) - np.asarray(got, np.float64)
        if not geometry.channels:  # grayscale, whatever its weights
            apart = apart.mean(axis=2)
        return bool(np.abs(apart).mean() <= _ALIKE)


def image_input(
    pixels: Tensor, layout: PatchLayout | None, image: Image.Image | None, processor: Any
) -> ImageInput:
    """One image in a model.

    Args:
        pixels: (1, C, h, w). image: as ``as_rgb`` returned it, None if tensors were given.
    """
    values = pixels[0].detach().float().cpu().numpy()
    if isinstance(processor, ProcessorMixin):
        processor = getattr(processor, "image_processor", None)
    if image is None:
        return ImageInput(values, layout)
    small = image.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return ImageInput(
        pixels=values,
        layout=layout,
        given=np.asarray(small),
        size=image.size,
        changes=changes_of(image),
        processor=processor,
    )
