"""Matrices as heatmaps: one, or one a head side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from attnviz.charts.axes import axis, heading, positioned
from attnviz.charts.palettes import HATCH, PICKED, Domain, Palette, nice_domain, ramp

Size = tuple[int, int]

_CELL = ("row", "column", "row label", "column label")  # what a picked cell is told by
# A line in the page's colour between cells, where they are large enough to spare a pixel
_GAP = {"expr": "min(bandwidth('x'), bandwidth('y')) < 9 ? 0 : 1"}
_PLOT = 300  # px, the side that a matrix is fitted into
_LARGEST = 24  # px, a cell's side: more would only be empty
_LEGIBLE, _MANY = 6, 64  # px, a cell's smallest side, where there are not too many to see them all


def heatmap(
    values: np.ndarray,
    rows: Sequence[str],
    cols: Sequence[str],
    *,
    row_title: str | None = "query",
    col_title: str | None = "key",
    value_title: str = "weight",
    palette: Palette = "sequential",
    domain: Domain | None = None,
    title: str | None = None,
    subtitle: str | None = None,
    size: Size | None = None,
    masked: np.ndarray | None = None,
    select: str | None = None,
    picked: tuple[int, int] | None = None,
    legend: bool = True,
) -> alt.Chart:
    """One matrix, a cell for every number, with the number itself on hover.

    Args:
        values: (n_rows, n_cols). ``-inf`` and ``nan`` are drawn as hatched grey, in no colour of
            the palette.
        rows, cols: labels, one for each row and column; repeats stay separate positions.
        row_title, col_title, value_title: what rows, columns and cells are.
        palette: "sequential" for numbers from 0 up, "diverging" for numbers of both signs.
        domain: the values of the first and the last colour; round ones around the data by default.
        size: (width, height) of the matrix in pixels, without labels; from its shape by default, so
            that a matrix of the same shape always takes the same room.
        masked: (n_rows, n_cols) booleans, True for a cell that is not allowed to attend.
        select: the name of a selection parameter: a click picks a cell, ``{"row": i, "column": j,
            "row label": ..., "column label": ...}``.
        picked: the cell to outline.
        legend: whether the colours and their range are shown beside the matrix.

    Raises:
        ValueError: the labels, the mask and the values do not have the same shape.
    """
    array = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"a heatmap needs a matrix, not an array of shape {array.shape}")
    hit = None if picked is None else (0, *picked)
    data = _table(array[None], rows, cols, None if masked is None else masked[None], hit)
    width, height = size or plot_size(len(rows), len(cols))
    return alt.Chart(
        data=data,
        title=heading(title, subtitle),
        width=width,
        height=height,
        **_marks(
            rows,
            cols,
            titles=(row_title, col_title, value_title),
            palette=palette,
            domain=domain or nice_domain(array, palette),
            size=(width, height),
            select=select,
            outlined=bool(select) or picked is not None,
            legend=legend,
        ),
    )


def heatmaps(
    values: np.ndarray,
    rows: Sequence[str],
    cols: Sequence[str],
    names: Sequence[str],
    *,
    row_title: str | None = "query",
    col_title: str | None = "key",
    value_title: str = "weight",
    palette: Palette = "sequential",
    domain: Domain | None = None,
    title: str | None = None,
    subtitle: str | None = None,
    size: Size | None = None,
    masked: np.ndarray | None = None,
    select: str | None = None,
    picked: tuple[int, int, int] | None = None,
    columns: int = 4,
    legend: bool = True,
) -> alt.Chart:
    """Many matrices of one shape as small multiples that share their axes and colours.

    Args:
        values: (n_panels, n_rows, n_cols), one panel a head.
        names: a title for each panel.
        masked: (n_rows, n_cols) for all panels, or (n_panels, n_rows, n_cols).
        select: as for ``heatmap``; a pick also has ``"panel": h``.
        picked: (panel, row, column) of the cell to outline.
        columns: panels in a row.

    The rest is as for :func:`heatmap`.
    """
    array = np.asarray(values)
    if array.ndim != 3 or array.shape[0] != len(names):
        raise ValueError(f"{len(names)} names for panels of shape {array.shape}")
    if masked is not None:
        masked = np.broadcast_to(masked, array.shape)
    width, height = size or plot_size(len(rows), len(cols), _PLOT // 2)
    specification = _marks(
        rows,
        cols,
        titles=(row_title, col_title, value_title),
        palette=palette,
        domain=domain or nice_domain(array, palette),
        size=(width, height),
        select=select,
        outlined=bool(select) or picked is not None,
        legend=legend,
    )
    if select:
        specification["params"][0]["select"]["fields"].append("panel")
    specification["encoding"]["facet"] = {
        "field": "panel",
        "type": "ordinal",
        "columns": min(columns, len(names)),
        "spacing": 14,
        "title": None,
        "header": {
            "labelExpr": f"{list(names)}[datum.value]",
            "labelFontSize": 12,
            "labelPadding": 4,
        },
    }
    return alt.Chart(
        data=_table(array, rows, cols, masked, picked),
        title=heading(title, subtitle),
        width=width,
        height=height,
        **specification,
    )


def plot_size(n_rows: int, n_cols: int, room: int = _PLOT) -> Size:
    """(width, height) in pixels of a matrix, from its shape alone.

    Cells are square where the matrix is; a long row of features gets flatter ones, high enough for
    the rows' labels.
    """
    across, down = _side(n_cols, room), _side(n_rows, room)
    return min(across, 2 * down) * max(n_cols, 1), min(down, max(across, 16)) * max(n_rows, 1)


def _side(count: int, room: int) -> int:
    """The side of a cell so that ``count`` of them fit into ``room`` pixels, within limits."""
    smallest = _LEGIBLE if count <= _MANY else 3
    return min(max(room // max(count, 1), smallest), _LARGEST)


def _table(
    values: np.ndarray,
    rows: Sequence[str],
    cols: Sequence[str],
    masked: np.ndarray | None,
    picked: tuple[int, int, int] | None,
) -> pa.Table:
    """One line a cell: where it is, its value, and what hovering says."""
    shape = (values.shape[0], len(rows), len(cols))
    if values.shape != shape or (masked is not None and masked.shape != shape):
        raise ValueError(
            f"{shape[1]} row and {shape[2]} column labels do not fit values of shape "
            f"{values.shape[1:]}" + ("" if masked is None else f" masked by {masked.shape[1:]}")
        )
    places = _places(shape, tuple(rows), tuple(cols))
    flat = values.ravel()
    hidden = np.isneginf(flat)
    if masked is not None:
        hidden = hidden | masked.ravel()
    shown = np.char.mod("%.7g", flat)
    outlined = np.zeros(shape, dtype=bool)
    if picked is not None and all(0 <= i < n for i, n in zip(picked, shape, strict=True)):
        outlined[picked] = True
    table = pa.table(
        {
            **places,
            "value": pa.array(flat, mask=~np.isfinite(flat)),
            "hatched": ~np.isfinite(flat) | hidden,
            "picked": outlined.ravel(),
            "shown": np.where(hidden, "masked", shown),
        }
    )
    if picked is None:
        return table
    # Cells are drawn in this order: the picked one last, so that no neighbour covers its outline.
    return table.take(pa.array(np.argsort(outlined.ravel(), kind="stable")))


@lru_cache(maxsize=16)  # a page has about as many; a large one takes 2 MB
def _places(
    shape: tuple[int, int, int], rows: tuple[str, ...], cols: tuple[str, ...]
) -> dict[str, pa.Array]:
    """Where each cell is. Kept, since all of a page's pictures change and hardly any of it does."""
    panel, row, column = (pa.array(i.ravel().astype(np.int32)) for i in np.indices(shape))
    return {
        "panel": panel,
        "row": row,
        "column": column,
        "row label": pa.array(positioned(rows)).take(row),
        "column label": pa.array(positioned(cols)).take(column),
    }


def _marks(
    rows: Sequence[str],
    cols: Sequence[str],
    *,
    titles: tuple[str | None, str | None, str],
    palette: Palette,
    domain: Domain,
    size: Size,
    select: str | None,
    outlined: bool,
    legend: bool,
) -> dict[str, Any]:
    """Mark, encoding and parameters: everything that does not change while only numbers change."""
    row_title, col_title, value_title = titles
    width, height = size
    column_pitch, row_pitch = width / max(len(cols), 1), height / max(len(rows), 1)
    specification: dict[str, Any] = {
        "autosize": "pad",  # labels take room around the matrix and never from it
        "padding": {"top": 2, "bottom": 4, "left": 0, "right": 6},
        # A canvas takes new numbers in half the time that hundreds of SVG nodes take.
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
        "view": {"stroke": "rgba(128,128,128,0.35)"},
        "mark": {
            "type": "rect",
            "cursor": "pointer" if select else "default",
            "stroke": {"expr": "background"},
            "strokeWidth": _GAP,
            "invalid": None,  # a cell without a number is drawn all the same
            "aria": False,  # a sentence for each cell, which no canvas can hold
        },
        "encoding": {
            "x": {
                "field": "column",
                "type": "ordinal",
                "scale": {"padding": 0},
                "axis": axis(cols, col_title, column_pitch, orient="top"),
            },
            "y": {
                "field": "row",
                "type": "ordinal",
                "scale": {"padding": 0},
                "axis": axis(rows, row_title, row_pitch, orient="left"),
            },
            "color": {
                "condition": {"test": "datum.hatched", "value": HATCH},
                "field": "value",
                "type": "quantitative",
                "scale": {
                    "domain": stops(domain),
                    "range": ramp(palette),
                    "clamp": True,
                    "interpolate": "rgb",
                },
                "legend": _legend(domain, height) if legend else None,
            },
            "tooltip": [
                {"field": "row label", "type": "nominal", "title": row_title or "row"},
                {"field": "column label", "type": "nominal", "title": col_title or "column"},
                {"field": "shown", "type": "nominal", "title": value_title},
            ],
        },
    }
    if outlined:
        # Read from the table and not from the browser's own selection: a cell can be picked by
        # keyboard as well, and then only numbers change.
        specification["encoding"] |= {
            "stroke": {
                "condition": {"test": "datum.picked", "value": PICKED},
                "value": {"expr": "background"},
            },
            "strokeWidth": {
                "condition": {"test": "datum.picked", "value": 3},
                "value": _GAP,
            },
        }
    if select:
        specification["params"] = [
            {
                "name": select,
                "select": {"type": "point", "fields": list(_CELL), "toggle": False},
            }
        ]
    return specification


def stops(domain: Domain) -> list[float]:
    """The values at the palette's seven colours, evenly spread over the domain."""
    return [float(f"{stop:.6g}") for stop in np.linspace(*domain, 7)]


def _legend(domain: Domain, height: int) -> dict[str, Any]:
    low, high = domain
    ends = [low, 0.0, high] if low < 0 < high else [low, (low + high) / 2, high]
    return {
        "title": None,
        "orient": "right",
        "values": ends,
        "labelExpr": "format(datum.value, '.6~g')",  # as it is: a tick's own format rounds it
        "gradientLength": max(min(height, 110), 40),
        "gradientThickness": 8,
        "offset": 10,
        "padding": 0,
        "labelFontSize": 11,
    }
