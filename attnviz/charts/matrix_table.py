"""The table of a heatmap: one row per cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from attnviz.charts.axes import hover_labels


def matrix_table(
    values: np.ndarray,
    rows: Sequence[str],
    cols: Sequence[str],
    masked: np.ndarray | None,
    picked: tuple[int, int, int] | None,
) -> pa.Table:
    """Each cell's indices, value and tooltip text.

    Args:
        values: (n_panels, n_rows, n_cols). masked: booleans of the same shape.
        picked: (panel, row, column) of the cell to outline.

    Raises:
        ValueError: the labels, the mask and the values differ in shape.
    """
    shape = (values.shape[0], len(rows), len(cols))
    if values.shape != shape or (masked is not None and masked.shape != shape):
        raise ValueError(
            f"{shape[1]} row and {shape[2]} column labels do not fit values of shape "
            f"{values.shape[1:]}" + ("" if masked is None else f" masked by {masked.shape[1:]}")
        )
    flat = values.ravel()
    finite = np.isfinite(flat)
    hidden = np.isneginf(flat)
    if masked is not None:
        hidden = hidden | masked.ravel()
    outlined = np.zeros(shape, dtype=bool)
    if picked is not None and all(0 <= i < n for i, n in zip(picked, shape, strict=True)):
        outlined[picked] = True
    table = pa.table(
        {
            **_indices(shape, tuple(rows), tuple(cols)),
            "value": pa.array(flat, mask=~finite),
            "hatched": ~finite | hidden,
            "picked": outlined.ravel(),
            "shown": np.where(hidden, "masked", np.char.mod("%.7g", flat)),
        }
    )
    if picked is None:
        return table
    # Cells are drawn in this order: the picked one last, so that no neighbor covers its outline.
    return table.take(pa.array(np.argsort(outlined.ravel(), kind="stable")))


@lru_cache(maxsize=16)  # about as many as a page has; a large one takes 2 MB
def _indices(
    shape: tuple[int, int, int], rows: tuple[str, ...], cols: tuple[str, ...]
) -> dict[str, pa.Array]:
    """Panel, row and column of each cell, and their labels. Cached: a rerun changes only values."""
    panel, row, column = (pa.array(i.ravel().astype(np.int32)) for i in np.indices(shape))
    return {
        "panel": panel,
        "row": row,
        "column": column,
        "row label": pa.array(hover_labels(rows)).take(row),
        "column label": pa.array(hover_labels(cols)).take(column),
    }
