"""Rectangles of a map as 16-bit codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from attnviz.canvas.codecs import Codec
from attnviz.canvas.interaction import Viewport

MAX_SIDE: Final = 1024  # codes along one side of a tile; 2 MB at most
MARGIN: Final = 0.25  # of the viewport, sent around it where that costs no detail

Span = tuple[int, int]  # from a first index to one past the last


@dataclass(frozen=True)
class EncodedTile:
    """A rectangle of a map.

    Attributes:
        codes: (R, C) uint16, to be decoded with ``codec``.
        rows, cols: the cells it covers. side: cells along the side of one square, which has one
            code.
    """

    codes: np.ndarray
    codec: Codec
    rows: Span
    cols: Span
    side: int

    def header(self) -> dict[str, object]:
        """Everything but the codes, for the browser."""
        extent = {"rows": self.rows, "cols": self.cols, "side": self.side}
        return {**extent, "codec": self.codec.header()}


def tile_bounds(
    view: Viewport, shape: tuple[int, int], max_side: int = MAX_SIDE
) -> tuple[Span, Span, int]:
    """Rows, columns and square side of the tile for a viewport, at most ``max_side`` squares long.

    Sides are powers of two, so that all tiles of one zoom level share a grid of squares.
    """
    spans = [
        (min(start, n - 1), max(min(stop, n), min(start, n - 1) + 1))
        for (start, stop), n in zip((view.rows, view.cols), shape, strict=True)
    ]
    side = 1
    while max(_n_squares(*span, side) for span in spans) > max_side:
        side *= 2
    bounds = []
    for (start, stop), n in zip(spans, shape, strict=True):
        spare = (max_side - _n_squares(start, stop, side)) // 2 * side
        margin = min(round((stop - start) * MARGIN), spare) // side * side
        bounds.append((max(0, start // side * side - margin), min(n, stop + margin)))
    return bounds[0], bounds[1], side


def _n_squares(start: int, stop: int, side: int) -> int:
    """How many squares at multiples of ``side`` cover the cells from ``start`` to ``stop``."""
    return -(-stop // side) - start // side
