"""A layer as a flow: the matrices of its steps, side by side, from its input to its output."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnviz.canvas import wire


@dataclass(frozen=True)
class FlowMatrix:
    """One matrix, or the same matrix of several heads.

    Attributes:
        name: identifies it in the flow; a click on a cell of "weights" is reported.
        title, formula: as shown.
        values: (R, C), or (P, R, C) with a name in ``panels`` for each; float32, not finite where
            there is no number.
        rows, cols: what they are: a text of the payload's, or anything else.
        row_kind, col_kind: what sets their size: "query", "key", "d_model", "d_head", ...
        row_title, col_title: of a row and of a column.
        two_sided: zero is the middle of the color scale.
        range: numbers of the first and the last color; there may be numbers beyond.
    """

    name: str
    title: str
    formula: str
    values: np.ndarray
    rows: str
    cols: str
    row_kind: str
    col_kind: str
    row_title: str
    col_title: str
    two_sided: bool
    range: tuple[float, float]
    panels: tuple[str, ...] = ()

    def header(self, array: str) -> dict[str, Any]:
        """For the browser. array: the name of its numbers."""
        finite = self.values[np.isfinite(self.values)]
        low, high = self.range
        return {
            "name": self.name,
            "title": self.title,
            "formula": self.formula,
            "array": array,
            "size": self.values.shape[-2:],
            "panels": self.panels,
            "rows": self.rows,
            "cols": self.cols,
            "row": self.row_kind,
            "col": self.col_kind,
            "rowTitle": self.row_title,
            "colTitle": self.col_title,
            "twoSided": self.two_sided,
            "range": self.range,
            "beyond": bool(finite.size and (finite.min() < low or finite.max() > high)),
            "holes": finite.size < self.values.size,
        }


@dataclass(frozen=True)
class FlowStep:
    """A step: its name, what it does in one line, its terms explained, its matrices."""

    title: str
    line: str
    help: str
    matrices: tuple[FlowMatrix, ...]


@dataclass(frozen=True)
class FlowPayload:
    """A layer's steps in order.

    Attributes:
        texts: the tokens that rows and columns may be, by name.
        axes: of each text its id: canvases with the same id share its hovered token.
        picked: (panel, row, column) of the selected weight.
        stale: why this isn't what the controls say; empty if it is.
    """

    title: str
    steps: tuple[FlowStep, ...]
    texts: Mapping[str, Sequence[str]]
    axes: Mapping[str, str]
    picked: tuple[int, int, int] | None = None
    stale: str = ""

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        arrays: dict[str, np.ndarray] = {}
        names = {name: list(tokens) for name, tokens in self.texts.items()}
        steps = []
        for step in self.steps:
            headers = []
            for matrix in step.matrices:
                array = f"m{len(arrays)}"
                arrays[array] = np.ascontiguousarray(matrix.values, dtype=np.float32)
                headers.append(matrix.header(array))
                for axis, n in ((matrix.rows, -2), (matrix.cols, -1)):
                    names.setdefault(axis, [str(i) for i in range(matrix.values.shape[n])])
            said = {"title": step.title, "line": step.line, "help": step.help}
            steps.append({**said, "matrices": headers})
        numbers = 0
        for values in arrays.values():
            numbers = zlib.crc32(values.tobytes(), numbers)
        header = {
            "mode": "flow",
            "id": f"{numbers:08x}",
            "title": self.title,
            "steps": steps,
            "names": names,
            "texts": {name: (axis, 0) for name, axis in self.axes.items()},
            "picked": self.picked,
            "stale": self.stale,
        }
        return wire.pack({**header, **display}, arrays)
