"""Matrices as heatmaps: a single one, or small multiples with one panel per head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from attnviz.charts.axes import heading, token_axis
from attnviz.charts.chart import Chart
from attnviz.charts.matrix_table import matrix_table
from attnviz.charts.palettes import HATCH, Domain, Palette, nice_domain, ramp, selected

Size = tuple[int, int]

_CELL_FIELDS: Final = ("row", "column", "row label", "column label")  # what a click returns
# A line in the page's color between cells, where they are large enough to spare a pixel
_GAP: Final = {"expr": "min(bandwidth('x'), bandwidth('y')) < 9 ? 0 : 1"}
_PLOT_PX: Final = 300  # the side that a matrix is fitted into
_MAX_CELL_PX: Final = 24  # a larger cell shows no more
_LEGIBLE_PX, _MANY_CELLS = 6, 64  # the smallest cell, unless there are more cells than this


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
) -> Chart:
    """One matrix, a cell for every number, with the exact number on hover.

    Args:
        values: (n_rows, n_cols). ``-inf`` and ``nan`` are hatched in gray, in no color of the
            palette.
        rows, cols: labels, one for each row and column; repeated labels stay separate positions.
        row_title, col_title, value_title: what rows, columns and cells are.
        palette: "sequential" for numbers from 0 up, "diverging" for numbers of both signs.
        domain: the values of the first and the last color; by default round ones around the data.
        size: (width, height) of the matrix in pixels, without labels; by default from its shape, so
            that matrices of one shape have one size.
        masked: (n_rows, n_cols) booleans, True for a cell that is not allowed to attend.
        select: the name of a selection parameter: a click picks a cell, ``{"row": i, "column": j,
            "row label": ..., "column label": ...}``.
        picked: the cell to outline.
        legend: whether the color scale is shown beside the matrix.

    Raises:
        ValueError: the labels, the mask and the values differ in shape.
    """
    array = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"a heatmap needs a matrix, not an array of shape {array.shape}")
    outlined = None if picked is None else (0, *picked)
    mask = None if masked is None else masked[None]
    data = matrix_table(array[None], rows, cols, mask, outlined)
    size = size or plot_size(len(rows), len(cols))
    color = _color(palette, domain or nice_domain(array, palette), size[1] if legend else None)
    titles = (row_title, col_title, value_title)
    outlines = bool(select) or picked is not None
    specification = _specification(rows, cols, titles, color, size, select, outlines)
    return Chart(heading(title, subtitle) | specification, data)


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
) -> Chart:
    """Matrices of one shape as small multiples that share axes and colors.

    Args:
        values: (n_panels, n_rows, n_cols), one panel per head.
        names: a title for each panel.
        masked: (n_rows, n_cols) for all panels, or (n_panels, n_rows, n_cols).
        select: as for ``heatmap``; a click also returns ``"panel": h``.
        picked: (panel, row, column) of the cell to outline.
        columns: panels in a row.

    The rest is as for :func:`heatmap`.
    """
    array = np.asarray(values)
    if array.ndim != 3 or array.shape[0] != len(names):
        raise ValueError(f"{len(names)} names for panels of shape {array.shape}")
    if masked is not None:
        masked = np.broadcast_to(masked, array.shape)
    size = size or plot_size(len(rows), len(cols), _PLOT_PX // 2)
    color = _color(palette, domain or nice_domain(array, palette), size[1] if legend else None)
    titles = (row_title, col_title, value_title)
    outlines = bool(select) or picked is not None
    specification = _specification(rows, cols, titles, color, size, select, outlines)
    specification["encoding"]["facet"] = _facet(names, columns)
    if select:
        specification["params"][0]["select"]["fields"].append("panel")
    data = matrix_table(array, rows, cols, masked, picked)
    return Chart(heading(title, subtitle) | specification, data)


def plot_size(n_rows: int, n_cols: int, room: int = _PLOT_PX) -> Size:
    """(width, height) in pixels of a matrix, from its shape alone.

    Cells are square where the matrix is; a long row of features gets flatter ones, high enough for
    the row labels.
    """
    across, down = _cell_side(n_cols, room), _cell_side(n_rows, room)
    return min(across, 2 * down) * max(n_cols, 1), min(down, max(across, 16)) * max(n_rows, 1)


def _cell_side(count: int, room: int) -> int:
    """The side of a cell so that ``count`` of them fit into ``room`` pixels, within limits."""
    smallest = _LEGIBLE_PX if count <= _MANY_CELLS else 3
    return min(max(room // max(count, 1), smallest), _MAX_CELL_PX)


def _specification(
    rows: Sequence[str],
    cols: Sequence[str],
    titles: tuple[str | None, str | None, str],
    color: dict[str, Any],
    size: Size,
    select: str | None,
    outlines: bool,
) -> dict[str, Any]:
    """Everything but the heading and the data: it stays the same while only numbers change."""
    row_title, col_title, value_title = titles
    specification: dict[str, Any] = {
        "width": size[0],
        "height": size[1],
        "autosize": "pad",  # labels take room around the matrix, never from it
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
            "aria": False,  # one sentence per cell would be too many
        },
        "encoding": {
            **_positions(rows, cols, row_title, col_title, size),
            "color": color,
            "tooltip": _tooltip(row_title, col_title, value_title),
            **(_outline() if outlines else {}),
        },
    }
    if select:
        point = {"type": "point", "fields": list(_CELL_FIELDS), "toggle": False}
        specification["params"] = [{"name": select, "select": point}]
    return specification


def _positions(
    rows: Sequence[str],
    cols: Sequence[str],
    row_title: str | None,
    col_title: str | None,
    size: Size,
) -> dict[str, Any]:
    """x and y over positions, labeled with tokens."""
    column_pitch, row_pitch = size[0] / max(len(cols), 1), size[1] / max(len(rows), 1)
    return {
        "x": {
            "field": "column",
            "type": "ordinal",
            "scale": {"padding": 0},
            "axis": token_axis(cols, col_title, column_pitch, orient="top"),
        },
        "y": {
            "field": "row",
            "type": "ordinal",
            "scale": {"padding": 0},
            "axis": token_axis(rows, row_title, row_pitch, orient="left"),
        },
    }


def _color(palette: Palette, domain: Domain, legend_height: int | None) -> dict[str, Any]:
    """Cell colors; hatched where a cell has no number."""
    return {
        "condition": {"test": "datum.hatched", "value": HATCH},
        "field": "value",
        "type": "quantitative",
        "scale": {
            "domain": _color_stops(domain),
            "range": ramp(palette),
            "clamp": True,
            "interpolate": "rgb",
        },
        "legend": None if legend_height is None else _legend(domain, legend_height),
    }


def _color_stops(domain: Domain) -> list[float]:
    """The values at the palette's seven colors, evenly spaced over the domain."""
    return [float(f"{stop:.6g}") for stop in np.linspace(*domain, 7)]


def _legend(domain: Domain, height: int) -> dict[str, Any]:
    low, high = domain
    ticks = [low, 0.0, high] if low < 0 < high else [low, (low + high) / 2, high]
    return {
        "title": None,
        "orient": "right",
        "values": ticks,
        "labelExpr": "format(datum.value, '.6~g')",  # unrounded: a tick's own format rounds it
        "gradientLength": max(min(height, 110), 40),
        "gradientThickness": 8,
        "offset": 10,
        "padding": 0,
        "labelFontSize": 11,
    }


def _tooltip(
    row_title: str | None, col_title: str | None, value_title: str
) -> list[dict[str, Any]]:
    return [
        {"field": "row label", "type": "nominal", "title": row_title or "row"},
        {"field": "column label", "type": "nominal", "title": col_title or "column"},
        {"field": "shown", "type": "nominal", "title": value_title},
    ]


def _outline() -> dict[str, Any]:
    """The outline of the picked cell.

    It comes from the table and not from the browser's own selection: a cell can be picked by
    keyboard as well, and then only numbers change.
    """
    is_picked = "datum.picked"
    return {
        "stroke": {
            "condition": {"test": is_picked, "value": selected()},
            "value": {"expr": "background"},
        },
        "strokeWidth": {"condition": {"test": is_picked, "value": 3}, "value": _GAP},
    }


def _facet(names: Sequence[str], columns: int) -> dict[str, Any]:
    return {
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
