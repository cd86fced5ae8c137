"""One head's map: an overview of the whole, and the exact cells of the viewport."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from torch import Tensor

from attnviz.analysis import overviews
from attnviz.analysis.arrays import as_numpy
from attnviz.analysis.overviews import Quantity
from attnviz.canvas import wire
from attnviz.canvas.codecs import FixedPoint, SignificantDigits
from attnviz.canvas.interaction import Viewport
from attnviz.canvas.memo import Memo, uncached
from attnviz.canvas.naming import (
    TextAxis,
    col_axis,
    layer_name,
    row_axis,
    token_names,
    trace_id,
)
from attnviz.canvas.tiles import MAX_SIDE, EncodedTile, Span, tile_bounds
from attnviz.trace import Trace
from attnviz.trace.pooling import masked_squares, square_side


@dataclass(frozen=True)
class MapPayload:
    """A head's map, or any other matrix that is drawn as a map is.

    Attributes:
        id: of this map; space: of all maps with the same rows and columns, which share a viewport.
        quantity: what the cells are.
        base: the whole, pooled where it is larger than ``MAX_SIDE``; None if the browser has it.
        tile: the viewport in more detail, if the base is pooled.
        row_names, col_names: of all rows and columns; sent with the base.
        row_max, col_max: (n_q,), (n_k,) for normalizing; None without a base.
        cell: (row, column) to mark. focus: ("row" | "col", index) of a token to mark.
        report: whether the browser reports every move of the viewport.
        exact: (n_q, n_k) float32 for tooltips, where the codes have too few digits.
        two_sided: zero is the middle of the color scale; by default as the codec has signs.
        scale: the color scale at first: "linear", "log" or "percentile".
        row_title, col_title: what rows and columns are; by default query and key.
        row_axis, col_axis: the texts along them; None where they are no tokens.
    """

    id: str
    space: str
    title: str
    quantity: str
    shape: tuple[int, int]
    base: EncodedTile | None
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    row_max: np.ndarray | None
    col_max: np.ndarray | None
    view: Viewport | None
    focus: tuple[Literal["row", "col"], int] | None
    report: bool
    tile: EncodedTile | None = None
    cell: tuple[int, int] | None = None
    exact: np.ndarray | None = None
    two_sided: bool | None = None
    scale: str | None = None
    row_title: str | None = None
    col_title: str | None = None
    row_axis: TextAxis | None = None
    col_axis: TextAxis | None = None

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        header: dict[str, object] = {
            "mode": "map",
            "id": self.id,
            "space": self.space,
            "title": self.title,
            "quantity": self.quantity,
            "shape": self.shape,
            "view": self.view and self.view.header(),
            "cell": self.cell,
            "focus": self.focus,
            "report": self.report,
        }
        options = {
            "twoSided": self.two_sided,
            "scale": self.scale,
            "rowTitle": self.row_title,
            "colTitle": self.col_title,
            "rowAxis": self.row_axis and self.row_axis.header(),
            "colAxis": self.col_axis and self.col_axis.header(),
        }
        header |= {name: value for name, value in options.items() if value is not None}
        arrays: dict[str, np.ndarray] = {}
        for name, tile in (("base", self.base), ("tile", self.tile)):
            if tile is not None:
                header[name] = tile.header()
                arrays[name] = tile.codes
        if self.row_max is not None and self.col_max is not None:
            header |= {"rowNames": self.row_names, "colNames": self.col_names}
            arrays |= {"rowMax": self.row_max, "colMax": self.col_max}
        if self.exact is not None:
            arrays["exact"] = self.exact
        return wire.pack({**header, **display}, arrays)


def map_payload(
    trace: Trace,
    layer: int,
    head: int,
    view: Viewport | None = None,
    *,
    quantity: Quantity = "weights",
    cell: tuple[int, int] | None = None,
    focus: tuple[Literal["row", "col"], int] | None = None,
    report: bool = False,
    size: int = MAX_SIDE,
    item: int = 0,
    memo: Memo = uncached,
) -> MapPayload:
    """One head of one layer.

    Args:
        view: what is on screen (``CanvasState.view``), or what to show first.
        cell: (query, key) to mark. focus: ("row" | "col", index) of a token to mark.
        report: whether the browser reports every move, for the page's link; otherwise only moves
            that need cells from the server.
        size: cells along a tile's longer side.
        item: which text of a batch.
        memo: caches overviews and tiles.

    Raises:
        AttnVizError: no such layer or head, or one that was refused or hides its scores.
    """
    a = trace.attention(layer, head, item=item)
    shape = (a.n_q, a.n_k)
    id = f"{trace_id(trace)}/{layer}/{head}/{quantity}/{size}/{item}"
    which = (layer, head, quantity, item)
    base, row_max, col_max = None, None, None
    if view is None or view.have != id:
        base, row_max, col_max = memo(
            ("map", *which, size), partial(_overview, trace, *which, size)
        )
    return MapPayload(
        id=id,
        space=f"{trace_id(trace)}/{trace.layers[layer].kind}/{a.n_q}x{a.n_k}",
        title=f"{layer_name(trace, layer)}, head {head}: {quantity}",
        quantity=quantity,
        shape=shape,
        base=base,
        tile=_detail(trace, *which, shape, view, size, memo),
        row_names=() if base is None else token_names(trace.row_tokens(layer, item)),
        col_names=() if base is None else token_names(trace.col_tokens(layer, item)),
        row_max=row_max,
        col_max=col_max,
        view=view,
        cell=cell,
        focus=focus,
        report=report,
        row_axis=row_axis(trace, layer, item),
        col_axis=col_axis(trace, layer, item),
    )


def _overview(
    trace: Trace, layer: int, head: int, quantity: Quantity, item: int, size: int
) -> tuple[EncodedTile, np.ndarray, np.ndarray]:
    """The whole map in one tile, and the maximum of each row and each column."""
    picture = overviews.pooled_map(trace, layer, head, quantity, size, item)
    rows, cols = (0, len(picture.row_max)), (0, len(picture.col_max))
    which = (trace, layer, head, quantity, item)
    tile = _encoded(*which, rows, cols, picture.side, picture.cells)
    return tile, as_numpy(picture.row_max), as_numpy(picture.col_max)


def _detail(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity,
    item: int,
    shape: tuple[int, int],
    view: Viewport | None,
    size: int,
    memo: Memo,
) -> EncodedTile | None:
    """The viewport, if it can be shown in more detail than in the overview."""
    side = square_side(*shape, size)
    if view is None or side == 1:
        return None
    bounds = tile_bounds(view, shape, size)
    if bounds[2] >= side:
        return None
    which = (layer, head, quantity, item)
    return memo(("tile", *which, bounds), partial(_tile, trace, *which, *bounds))


def _tile(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity,
    item: int,
    rows: Span,
    cols: Span,
    side: int,
) -> EncodedTile:
    cells = overviews.tile(trace, layer, head, slice(*rows), slice(*cols), side, quantity, item)
    return _encoded(trace, layer, head, quantity, item, rows, cols, side, cells)


def _encoded(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity,
    item: int,
    rows: Span,
    cols: Span,
    side: int,
    cells: Tensor,
) -> EncodedTile:
    values = as_numpy(cells)
    if quantity == "scores":  # masked ones are -inf
        fixed = FixedPoint.over(values)
        return EncodedTile(fixed.encode(values), fixed, rows, cols, side)
    record, heads = trace.layer_record(layer, item), slice(head, head + 1)
    masked = masked_squares(record, heads, slice(*rows), slice(*cols), side, item)
    codec = SignificantDigits()
    codes = codec.encode(values, None if masked is None else masked[0].numpy())
    return EncodedTile(codes, codec, rows, cols, side)
