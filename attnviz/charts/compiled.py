"""A chart as the plain specification that a browser draws."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

_DATA: Final = "data"
_PARTS: Final = (
    *("autosize", "padding", "title", "width", "height", "view", "usermeta"),
    *("mark", "encoding", "params"),
)


def compiled(chart: alt.Chart) -> dict[str, Any]:
    """A chart of this package as a Vega-Lite specification, its table under ``datasets``.

    ``chart.to_dict()`` says the same and also holds every part against Vega-Lite's schema, which
    takes many times longer than all the rest of a chart: the tests do that, and a page that redraws
    fifteen charts while somebody moves a slider does not.

    Two charts that differ in numbers alone have the same specification here, their colours' range
    included: it is read from the table. A browser then puts the new numbers into the old picture.
    """
    specification = {part: chart[part] for part in _PARTS if chart[part] is not alt.Undefined}
    table = chart.data
    color = specification["encoding"].get("color", {})
    domain = color.get("scale", {}).get("domain", ())
    if domain and not isinstance(domain[0], str):
        low, high = domain[0], domain[-1]
        table = table.append_column("low", pa.array(np.full(len(table), low)))
        table = table.append_column("high", pa.array(np.full(len(table), high)))
        color = color | {"scale": color["scale"] | {"domain": _spread(len(domain))}}
        if color["legend"]:
            color["legend"] = color["legend"] | {"values": _spread(3)}
        specification["encoding"] = specification["encoding"] | {"color": color}
    return specification | {"data": {"name": _DATA}, "datasets": {_DATA: table}}


def _spread(count: int) -> list[dict[str, str]]:
    """Expressions for ``count`` values, evenly from the table's low to its high."""
    cell = f"data('{_DATA}')[0]"
    ready = f"length(data('{_DATA}'))"
    return [
        {"expr": f"{ready} ? {cell}.low + ({cell}.high - {cell}.low) * {i / (count - 1)} : {i}"}
        for i in range(count)
    ]
