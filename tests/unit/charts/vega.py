"""Charts as a browser gets them, checked against Vega-Lite's schema."""

from __future__ import annotations

from typing import Any

import altair as alt

from attnviz.charts import Chart


def validated(chart: Chart) -> dict[str, Any]:
    """The chart's Vega-Lite specification; its table is under ``datasets`` as a list of rows."""
    specification = chart.specification | {
        "data": {"name": "data"},
        "datasets": {"data": chart.data.to_pylist()},
    }
    alt.Chart.from_dict(specification)  # raises SchemaValidationError
    return specification
