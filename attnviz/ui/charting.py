"""How a page shows a chart: redrawn in place from one run to the next, in the page's own colors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.charts import Chart

_CSS = Path(__file__).with_suffix(".css")


def draw_chart(
    chart: Chart,
    key: str | None,
    alt: str,
    *,
    width: Literal["content", "stretch"] = "content",
    on_select: Callable[[], None] | None = None,
    where: DeltaGenerator | None = None,
) -> None:
    """Show a chart.

    Args:
        key: the chart's name; the next run updates the chart with the same key in place.
        alt: what a screen reader says of it.
        width: the chart's own, or that of its container.
        on_select: called when a cell was clicked, if the chart has a selection.
        where: a placeholder to draw into, instead of the current container.
    """
    st.html(_CSS)
    # Without Streamlit's chart theme labels have the page's own text color; its gray is too pale.
    (where or st).vega_lite_chart(
        chart.vega_lite(),
        width=width,
        theme=None,
        key=key,
        alt=alt,
        on_select=on_select or "ignore",
    )
