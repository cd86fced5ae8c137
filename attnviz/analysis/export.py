"""CSV and NPZ files, which other programs read.

HTML files are `attnviz.canvas.as_html`, Python programs `attnviz.analysis.code_export`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from attnviz.analysis.lab import Lab
from attnviz.analysis.real_head import RealHead
from attnviz.models.tokens import Token, display_text
from attnviz.nn import AttentionSteps, Stage


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file with a header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """A compressed NPZ file, for ``numpy.load`` without pickles."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def row_labels(tokens: Sequence[Token], at: range | None = None, side: int = 1) -> tuple[str, ...]:
    """Position and text of each token; of a pooled row, the range of positions.

    Args:
        at: which tokens; all by default.
        side: how many of them one row stands for.
    """
    at = range(len(tokens)) if at is None else at
    if side == 1:
        return tuple(f"{i} {display_text(tokens[i].text)}" for i in at)
    starts = range(at.start, at.stop, side)
    return tuple(f"{i}-{min(i + side, at.stop) - 1}" for i in starts)


def lab_npz(steps: AttentionSteps) -> bytes:
    """Every stage by name, (rows, columns) or (heads, rows, columns)."""
    return npz_bytes(**{stage.name: stage.value[0].numpy() for stage in steps.stages})


def lab_csv(steps: AttentionSteps, lab: Lab | RealHead) -> str:
    """One line per number: matrix, head (empty where heads share it), row, column, value."""
    header = ["matrix", "head", "row", "column", "row_label", "column_label", "value"]
    return csv_text(header, (line for stage in steps.stages for line in _stage_lines(stage, lab)))


def _stage_lines(stage: Stage, lab: Lab | RealHead) -> Iterator[list[Any]]:
    rows, columns = lab.stage_labels(stage)
    matrices = stage.value[0].numpy()
    for head, matrix in enumerate(matrices) if stage.per_head else [("", matrices)]:
        for (i, j), value in np.ndenumerate(matrix):
            yield [stage.name, head, i, j, rows[i], columns[j], value.item()]
