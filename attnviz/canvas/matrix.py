"""Any matrix on the canvas: vectors of a head, norms of the residual stream, rows being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnviz.canvas import wire
from attnviz.canvas.codecs import Codec, FixedPoint, SignificantDigits
from attnviz.canvas.interaction import Viewport
from attnviz.canvas.map import EncodedTile


@dataclass(frozen=True)
class MatrixPayload:
    """A whole matrix, drawn as a map is.

    Attributes:
        id: changes with the numbers; space: is kept while rows and columns stand for the same, so
            that a zoom stays.
        sheet: the numbers as codes, for colours. exact: (R, C) float32, for whoever reads one;
            None where the codes say all that is shown.
        two_sided: zero is the middle of the colour scale, not its end.
        scale: the colour scale at first: "linear", "log" or "percentile".
        focus: a row that is marked.
    """

    id: str
    space: str
    title: str
    sheet: EncodedTile
    exact: np.ndarray | None
    two_sided: bool
    row_names: tuple[str, ...]
    col_names: tuple[str, ...]
    row_title: str
    col_title: str
    value_title: str
    scale: str
    view: Viewport | None
    focus: int | None
    report: bool

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        header: dict[str, object] = {
            "mode": "map",
            "id": self.id,
            "space": self.space,
            "title": self.title,
            "quantity": self.value_title,
            "rowTitle": self.row_title,
            "colTitle": self.col_title,
            "rowNames": self.row_names,
            "colNames": self.col_names,
            "shape": self.sheet.codes.shape,
            "base": self.sheet.header(),
            "twoSided": self.two_sided,
            "scale": self.scale,
            "view": self.view and self.view.header(),
            "focus": None if self.focus is None else ("row", self.focus),
            "report": self.report,
        }
        sizes = np.abs(self.sheet.codec.decode(self.sheet.codes))
        sizes = np.where(np.isnan(sizes), 0.0, sizes).astype(np.float32)
        arrays = {
            "base": self.sheet.codes,
            "rowMax": sizes.max(axis=1, initial=0.0),
            "colMax": sizes.max(axis=0, initial=0.0),
        }
        if self.exact is not None:
            arrays["exact"] = self.exact
        return wire.pack({**header, **display}, arrays)


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
) -> MatrixPayload:
    """A matrix of any numbers.

    Args:
        values: (R, C). Weights travel as four significant digits, all else also as it is.
        masked: (R, C) bool, cells that hold nothing.
        id, space, row_title, col_title, value_title, two_sided, scale, view, focus, report: see
            `MatrixPayload`; without a space, the id is the space.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    R, C = values.shape
    codec: Codec
    if value_title == "weight":
        codec = SignificantDigits()
        codes, exact = codec.encode(values, masked), None
    else:
        known = values if masked is None else np.where(masked, np.nan, values)
        codec = FixedPoint.over(known)
        codes, exact = codec.encode(known), values
    return MatrixPayload(
        id=id,
        space=space or id,
        title=title,
        sheet=EncodedTile(codes, codec, (0, R), (0, C), 1),
        exact=exact,
        two_sided=two_sided,
        row_names=tuple(row_names),
        col_names=tuple(col_names),
        row_title=row_title,
        col_title=col_title,
        value_title=value_title,
        scale=scale,
        view=view,
        focus=focus,
        report=report,
    )
