"""Any matrix, drawn as a map is: vectors of a head, norms of the residual stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnviz.canvas.codecs import Codec, FixedPoint, SignificantDigits
from attnviz.canvas.interaction import Viewport
from attnviz.canvas.map import MapPayload
from attnviz.canvas.naming import TextAxis
from attnviz.canvas.tiles import EncodedTile


def matrix_payload(
    values: np.ndarray,
    row_names: Sequence[str],
    col_names: Sequence[str],
    *,
    title: str,
    id: str,
    space: str = "",
    row_title: str = "query",
    col_title: str = "key",
    value_title: str = "weight",
    two_sided: bool = False,
    masked: np.ndarray | None = None,
    scale: str = "linear",
    view: Viewport | None = None,
    focus: int | None = None,
    report: bool = False,
    row_axis: TextAxis | None = None,
) -> MapPayload:
    """A matrix of any numbers.

    Args:
        values: (R, C). Weights travel as four significant digits, all else as float32 too.
        row_names, col_names: R and C names.
        id: changes with the numbers. space: stays while rows and columns mean the same, so that
            the viewport is kept; by default the id.
        row_title, col_title, value_title: what rows, columns and cells are.
        two_sided: zero is the middle of the color scale.
        masked: (R, C) booleans, True for cells without a number.
        scale: the color scale at first: "linear", "log" or "percentile".
        view: what is on screen. focus: a row to mark.
        report: whether the browser reports every move.
        row_axis: the text along the rows, if they are tokens.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    R, C = values.shape
    is_weight = value_title == "weight"
    codes, codec = _encoded(values, masked, is_weight)
    sizes = np.nan_to_num(np.abs(codec.decode(codes))).astype(np.float32)
    return MapPayload(
        id=id,
        space=space or id,
        title=title,
        quantity=value_title,
        shape=(R, C),
        base=EncodedTile(codes, codec, (0, R), (0, C), 1),
        exact=None if is_weight else values,
        row_names=tuple(row_names),
        col_names=tuple(col_names),
        row_max=sizes.max(axis=1, initial=0.0),
        col_max=sizes.max(axis=0, initial=0.0),
        view=view,
        focus=None if focus is None else ("row", focus),
        report=report,
        two_sided=two_sided,
        scale=scale,
        row_title=row_title,
        col_title=col_title,
        row_axis=row_axis,
    )


def _encoded(
    values: np.ndarray, masked: np.ndarray | None, is_weight: bool
) -> tuple[np.ndarray, Codec]:
    if is_weight:
        digits = SignificantDigits()
        return digits.encode(values, masked), digits
    known = values if masked is None else np.where(masked, np.nan, values)
    steps = FixedPoint.over(known)
    return steps.encode(known), steps
