"""A layer's matrices as files that other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from attnviz.analysis.lab import Lab
from attnviz.nn import AttentionSteps, Stage


def to_npz(steps: AttentionSteps) -> bytes:
    """Every stage under its name, (rows, columns) or (heads, rows, columns), for ``numpy.load``."""
    buffer = io.BytesIO()
    matrices: dict[str, Any] = {stage.name: stage.value[0].numpy() for stage in steps.stages}
    np.savez_compressed(buffer, **matrices)
    return buffer.getvalue()


def to_csv(steps: AttentionSteps, lab: Lab) -> str:
    """One line a number: matrix, head (empty where heads share it), row, column, value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["matrix", "head", "row", "column", "row_label", "column_label", "value"])
    for stage in steps.stages:
        writer.writerows(_lines(stage, lab))
    return buffer.getvalue()


def stage_labels(stage: Stage, lab: Lab) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What stands at each row and at each column of a stage: tokens, or numbers of dimensions."""
    tokens = {"query": lab.query_tokens, "key": lab.key_tokens, "sink": ("sink",)}
    numbers = tuple(map(str, range(stage.value.shape[-1])))
    return tokens[stage.rows], tokens.get(stage.columns, numbers)


def _lines(stage: Stage, lab: Lab) -> Iterator[list[object]]:
    rows, columns = stage_labels(stage, lab)
    matrices = stage.value[0].numpy()
    for head, matrix in enumerate(matrices) if stage.per_head else [("", matrices)]:
        for (i, j), value in np.ndenumerate(matrix):
            yield [stage.name, head, i, j, rows[i], columns[j], value.item()]
