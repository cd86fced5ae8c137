"""One head's map: a picture of the whole, and the cells themselves of what is on screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from attnviz.analysis import overviews
from attnviz.analysis.overviews import Quantity
from attnviz.canvas import wire
from attnviz.canvas.codecs import Codec, FixedPoint, SignificantDigits
from attnviz.canvas.interaction import Viewport
from attnviz.canvas.memo import Memo, uncached
from attnviz.canvas.naming import layer_name, token_names, trace_id
from attnviz.trace import Trace

SIDE = 1024  # cells along one side of a picture that is sent; 2 MB at most
MARGIN = 0.25  # of what is on screen, sent around it where that costs no detail


@dataclass(frozen=True)
class EncodedTile:
    """A rectangle of a map.

    Attributes:
        codes: (R, C) uint16, of numbers that ``codec`` reads.
        rows, cols: the cells it covers. side: cells along a square's side.
    """

    codes: np.ndarray
    codec: Codec
    rows: tuple[int, int]
    cols: tuple[int, int]
    side: int

    def header(self) -> dict[str, object]:
        """What a reader of the codes needs to know."""
        place = {"rows": self.rows, "cols": self.cols, "side": self.side}
        return {**place, "codec": self.codec.header()}


@dataclass(frozen=True)
class MapPayload:
    """One head's map.

    Attributes:
        id: of this map; space: of all maps with the same rows and columns.
        base: the whole, pooled where it is larger than ``SIDE``; None if the browser has it.
        tile: part of it in more detail, if the base is pooled and a view was asked for.
        row_max, col_max: (n_q,), (n_k,) for normalising; None without a base.
    """

    id: str
    space: str
    title: str
    quantity: Quantity
    shape: tuple[int, int]
    base: EncodedTile | None
    tile: EncodedTile | None
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    row_max: np.ndarray | None
    col_max: np.ndarray | None
    view: Viewport | None
    cell: tuple[int, int] | None
    focus: tuple[Literal["row", "col"], int] | None
    report: bool

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
        arrays: dict[str, np.ndarray] = {}
        for name, sheet in (("base", self.base), ("tile", self.tile)):
            if sheet is not None:
                header[name] = sheet.header()
                arrays[name] = sheet.codes
        if self.row_max is not None and self.col_max is not None:
            header |= {"rowNames": self.row_names, "colNames": self.col_names}
            arrays |= {"rowMax": self.row_max, "colMax": self.col_max}
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
    size: int = SIDE,
    item: int = 0,
    memo: Memo = uncached,
) -> MapPayload:
    """One head of one layer.

    Args:
        view: what is on screen (``CanvasState.view``), or what to show first.
        cell: (query, key) to be marked. focus: ("row" | "col", index) of a token to be marked.
        report: whether every move is told to the page, for its link; otherwise only moves that
            need cells from the server.
        size: cells along a picture's longer side.
        memo: where pictures and tiles are kept.

    Raises:
        AttnVizError: no such layer or head, or one that was refused or hides its scores.
    """
    found = trace.attention(layer, head, item=item)
    shape = (found.n_q, found.n_k)
    space = f"{trace_id(trace)}/{trace.layers[layer].kind}/{shape[0]}x{shape[1]}"
    id = f"{trace_id(trace)}/{layer}/{head}/{quantity}/{size}/{item}"
    which = (trace, layer, head, quantity, item)
    base, row_max, col_max = None, None, None
    if view is None or view.have != id:
        base, row_max, col_max = memo(("map", *which[1:], size), lambda: _whole(*which, size))
    tile = None
    side = overviews.side_for(*shape, size)
    if view is not None and side > 1:
        bounds = tile_bounds(view, shape, size)
        if bounds[2] < side:
            tile = memo(("tile", *which[1:], bounds), lambda: _tile(*which, *bounds))
    return MapPayload(
        id=id,
        space=space,
        title=f"{layer_name(trace, layer)}, head {head}: {quantity}",
        quantity=quantity,
        shape=shape,
        base=base,
        tile=tile,
        row_names=() if base is None else tuple(token_names(trace.row_tokens(layer, item))),
        col_names=() if base is None else tuple(token_names(trace.col_tokens(layer, item))),
        row_max=row_max,
        col_max=col_max,
        view=view,
        cell=cell,
        focus=focus,
        report=report,
    )


def tile_bounds(
    view: Viewport, shape: tuple[int, int], size: int = SIDE
) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Rows, columns and square side of the tile for a view: at most ``size`` squares a side.

    Sides are powers of two, so that tiles of one zoom have their squares at the same places.
    """
    spans = [
        (min(start, n - 1), max(min(stop, n), min(start, n - 1) + 1))
        for (start, stop), n in zip((view.rows, view.cols), shape, strict=True)
    ]
    side = 1
    while max(_squares(*span, side) for span in spans) > size:
        side *= 2
    bounds = []
    for (start, stop), n in zip(spans, shape, strict=True):
        spare = (size - _squares(start, stop, side)) // 2 * side
        margin = min(round((stop - start) * MARGIN), spare) // side * side
        bounds.append((max(0, start // side * side - margin), min(n, stop + margin)))
    return bounds[0], bounds[1], side


def _squares(start: int, stop: int, side: int) -> int:
    """Squares that start at multiples of ``side``, from ``start`` until ``stop`` is covered."""
    return -(-stop // side) - start // side


def _whole(
    trace: Trace, layer: int, head: int, quantity: Quantity, item: int, size: int
) -> tuple[EncodedTile, np.ndarray, np.ndarray]:
    """The picture, and the largest of each row and each column."""
    made = overviews.picture(trace, layer, head, quantity, size, item)
    n_q, n_k = len(made.row_max), len(made.col_max)
    rows, cols = slice(0, n_q), slice(0, n_k)
    sheet = _sheet(trace, layer, head, quantity, item, rows, cols, made.side, made.cells)
    return sheet, _numpy(made.row_max), _numpy(made.col_max)


def _tile(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity,
    item: int,
    rows: tuple[int, int],
    cols: tuple[int, int],
    side: int,
) -> EncodedTile:
    r, c = slice(*rows), slice(*cols)
    cells = overviews.tile(trace, layer, head, r, c, side, quantity, item)
    return _sheet(trace, layer, head, quantity, item, r, c, side, cells)


def _sheet(
    trace: Trace,
    layer: int,
    head: int,
    quantity: Quantity,
    item: int,
    rows: slice,
    cols: slice,
    side: int,
    cells: Tensor,
) -> EncodedTile:
    values, covers = _numpy(cells), ((rows.start, rows.stop), (cols.start, cols.stop))
    if quantity == "scores":  # masked ones are -inf
        fixed = FixedPoint.over(values)
        return EncodedTile(fixed.encode(values), fixed, *covers, side)
    a = trace.attention(layer, head, item=item)
    hidden = a.masked(rows, cols) if side == 1 else None
    codec = SignificantDigits()
    codes = codec.encode(values, None if hidden is None else hidden.cpu().numpy())
    return EncodedTile(codes, codec, *covers, side)


def _numpy(t: Tensor) -> np.ndarray:
    return t.float().cpu().numpy()
