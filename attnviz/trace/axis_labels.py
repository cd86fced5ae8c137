"""What the rows and columns of a layer are: tokens of a text, patches of an image, or numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedModel

from attnviz.models.tokens import PATCH_ID, Token, patches
from attnviz.trace.structure import Kind, Reads

# "source": of trace.tokens. "target": of trace.target_tokens. "image": patches of an image that
# was read beside a text. "number": windows, learned slots, frames, whatever has no name.
Axis = Literal["source", "target", "image", "number"]

# Tokens beside the patches (class, distillation, registers): where the grid is known, or guessed.
MOST_EXTRA = 16
MOST_GUESSED = 9


class BatchTokens:
    """The tokens of a batch, item by item, made from their ids when somebody looks.

    Args:
        first: the first item's. ids: (B, n), or None where there is one item.
        decode: makes tokens of ids.
    """

    def __init__(
        self,
        first: tuple[Token, ...],
        ids: Tensor | None = None,
        decode: Callable[[Sequence[int]], tuple[Token, ...]] | None = None,
    ) -> None:
        self._made = {0: first}
        self._ids = ids.cpu() if ids is not None and len(ids) > 1 else None
        self._decode = decode

    def __len__(self) -> int:
        """How many positions each item has."""
        return len(self._made[0])

    def of(self, item: int) -> tuple[Token, ...]:
        """One item's tokens; of an item that has no ids none."""
        if item not in self._made:
            if self._ids is None or self._decode is None or not 0 <= item < len(self._ids):
                return ()
            self._made[item] = self._decode(self._ids[item].tolist())
        return self._made[item]


@dataclass(frozen=True)
class AxisLabels:
    """What there is to name the positions of a trace with.

    Attributes:
        source: the text that the model reads. target: what the decoder of an encoder-decoder reads.
        image: the patches of an image's grid.
        batch: texts (or images, where there is no text). n_images: images in all of them.
        decodes: whether a decoder reads a text of its own, the target.
    """

    source: BatchTokens
    target: BatchTokens
    image: tuple[Token, ...] = ()
    batch: int = 1
    n_images: int = 0
    decodes: bool = False

    def axes(self, kind: Kind, reading: Reads, shape: Sequence[int]) -> tuple[Axis, Axis]:
        """What a layer's queries are, and what its keys are.

        By the tower that the layer lies in and by what entered it; the counts have to agree too,
        but alone they decide nothing.

        Args:
            reading: what the layer's tower reads. shape: the layer's items, H, n_q, n_k.
        """
        items, _, n_q, n_k = shape
        queries: Axis = "number"
        if reading == "text":
            queries = "target" if self.decodes and kind != "encoder" else "source"
        elif reading == "image" and kind == "encoder":  # a DETR's decoder asks with slots
            queries = "image"
        keys = queries
        if kind == "cross":
            keys = "image" if self.image else "number"
            if self.decodes and len(self.source):
                keys = "source"
        return self._fitting(queries, items, n_q), self._fitting(keys, items, n_k)

    def of(self, axis: Axis, n: int, item: int = 0) -> tuple[Token, ...]:
        """The n tokens of an axis, of one item of the batch."""
        if axis == "image":
            tokens = self.image
        elif axis == "number":
            tokens = ()
        else:
            tokens = (self.source if axis == "source" else self.target).of(item)
        return tokens if len(tokens) == n else numbered_tokens(n)

    def _fitting(self, axis: Axis, items: int, n: int) -> Axis:
        """The axis, or numbers where the layer works on windows or something pooled."""
        if axis == "image":
            return axis if len(self.image) == n and items == self.n_images else "number"
        if axis == "number" or items != self.batch:
            return "number"
        return axis if len(self.source if axis == "source" else self.target) == n else "number"


def numbered_tokens(n: int) -> tuple[Token, ...]:
    """Positions that have no other name."""
    return tuple(Token(str(i), PATCH_ID, None, None) for i in range(n))


def patches_of(module: PreTrainedModel, pixels: Any, n: int) -> tuple[Token, ...]:
    """The n positions of an image tower as patches of its grid; none where they are no grid.

    Args:
        pixels: (B, C, height, width), or with more dimensions in front.
    """
    if not isinstance(pixels, Tensor) or pixels.ndim < 4 or n < 1:
        return ()
    high, wide = pixels.shape[-2:]
    config = getattr(module.config, "vision_config", None) or module.config
    size = getattr(config, "patch_size", None)
    if isinstance(size, int):
        size = (size, size)
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(s, int) for s in size):
        rows, columns = high // size[0], wide // size[1]
        behind = int(getattr(config, "num_detection_tokens", 0) or 0)
        extra = n - rows * columns - behind
        if not 0 <= extra <= MOST_EXTRA:
            return ()  # merged, pooled or dropped on the way
        detections = (Token(f"[DET {i}]", PATCH_ID, None, None, True) for i in range(behind))
        return (*patches((rows, columns), extra), *detections)
    # leading special tokens (class, distillation, registers) are what the grid leaves over
    for extra in range(min(n, MOST_GUESSED)):
        rows = math.isqrt((n - extra) * high // max(1, wide))
        if rows and rows * (wide * rows // high) == n - extra:
            return patches((rows, wide * rows // high), extra)
    return ()
