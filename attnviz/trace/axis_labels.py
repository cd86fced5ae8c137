"""What the rows and columns of a layer are: tokens of a text, patches of an image, or numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from transformers import PreTrainedModel

from attnviz.models.tokens import PATCH_ID, Token, patches
from attnviz.trace.patch_layout import special_names
from attnviz.trace.structure import Kind, Modality

# "source": trace.tokens. "target": trace.target_tokens. "image": the patches of an image that was
# given with a text. "number": windows, learned slots, frames, and anything else without a name.
Axis = Literal["source", "target", "image", "number"]

# The most special tokens beside the patches (class, distillation, registers): where the grid is
# known, and where it is guessed.
MAX_EXTRA = 16
MAX_EXTRA_GUESSED = 9


class BatchTokens:
    """The tokens of a batch, item by item, decoded on access.

    Args:
        first: the first item's tokens. ids: (B, n), or None for a single item.
        decode: from ids to tokens.
    """

    def __init__(
        self,
        first: tuple[Token, ...],
        ids: Tensor | None = None,
        decode: Callable[[Sequence[int]], tuple[Token, ...]] | None = None,
    ) -> None:
        self._decoded = {0: first}
        self._ids = ids.cpu() if ids is not None and len(ids) > 1 else None
        self._decode = decode

    def __len__(self) -> int:
        """The number of positions of each item."""
        return len(self._decoded[0])

    def of(self, item: int) -> tuple[Token, ...]:
        """One item's tokens; none if its ids are unknown."""
        if item not in self._decoded:
            if self._ids is None or self._decode is None or not 0 <= item < len(self._ids):
                return ()
            self._decoded[item] = self._decode(self._ids[item].tolist())
        return self._decoded[item]


@dataclass(frozen=True)
class AxisLabels:
    """The labels of a trace's positions.

    Attributes:
        source: the input text. target: the decoder input of an encoder-decoder.
        image: the patches of an image's grid.
        batch: number of texts (or images, if there is no text). n_images: images in all of them.
        has_target: whether a decoder reads a text of its own, the target.
    """

    source: BatchTokens
    target: BatchTokens
    image: tuple[Token, ...] = ()
    batch: int = 1
    n_images: int = 0
    has_target: bool = False

    def axes(self, kind: Kind, modality: Modality, shape: Sequence[int]) -> tuple[Axis, Axis]:
        """What a layer's queries and its keys are.

        The layer's tower and its input decide. The counts must agree as well, but equal counts
        alone mean nothing.

        Args:
            modality: of the layer's tower. shape: its items, H, n_q, n_k.
        """
        items, _, n_q, n_k = shape
        queries: Axis = "number"
        if modality == "text":
            queries = "target" if self.has_target and kind != "encoder" else "source"
        elif modality == "image" and kind == "encoder":  # DETR's decoder has learned queries
            queries = "image"
        keys = queries
        if kind == "cross":
            keys = "image" if self.image else "number"
            if self.has_target and len(self.source):
                keys = "source"
        return self._fitting(queries, items, n_q), self._fitting(keys, items, n_k)

    def of(self, axis: Axis, n: int, item: int = 0) -> tuple[Token, ...]:
        """The n tokens of an axis, for one item of the batch."""
        if axis == "image":
            tokens = self.image
        elif axis == "number":
            tokens = ()
        else:
            tokens = (self.source if axis == "source" else self.target).of(item)
        return tokens if len(tokens) == n else numbered_tokens(n)

    def _fitting(self, axis: Axis, items: int, n: int) -> Axis:
        """The axis, or "number" if the layer works on windows or on pooled positions."""
        if axis == "image":
            return axis if len(self.image) == n and items == self.n_images else "number"
        if axis == "number" or items != self.batch:
            return "number"
        return axis if len(self.source if axis == "source" else self.target) == n else "number"


def numbered_tokens(n: int) -> tuple[Token, ...]:
    """Tokens for positions without a name: their numbers."""
    return tuple(Token(str(i), PATCH_ID, None, None) for i in range(n))


def patches_of(module: PreTrainedModel, pixels: Any, n: int) -> tuple[Token, ...]:
    """The n positions of an image tower as patches of its grid; none if they aren't a grid.

    Args:
        pixels: (..., B, C, height, width).
    """
    if not isinstance(pixels, Tensor) or pixels.ndim < 4 or n < 1:
        return ()
    height, width = pixels.shape[-2:]
    config = getattr(module.config, "vision_config", None) or module.config
    size = getattr(config, "patch_size", None)
    if isinstance(size, int):
        size = (size, size)
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(s, int) for s in size):
        rows, columns = height // size[0], width // size[1]
        n_detections = int(getattr(config, "num_detection_tokens", 0) or 0)
        extra = n - rows * columns - n_detections
        if not 0 <= extra <= MAX_EXTRA:
            return ()  # patches were merged, pooled or dropped
        names = special_names(module, extra)
        detections = (Token(f"[DET {i}]", PATCH_ID, None, None, True) for i in range(n_detections))
        return (*patches((rows, columns), extra if names is None else names), *detections)
    # positions beyond the grid are leading special tokens (class, distillation, registers)
    for extra in range(min(n, MAX_EXTRA_GUESSED)):
        rows = math.isqrt((n - extra) * height // max(1, width))
        if rows and rows * (width * rows // height) == n - extra:
            return patches((rows, width * rows // height), extra)
    return ()
