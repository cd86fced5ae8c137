"""Charts on the page, redrawn in place from one run to the next."""

from __future__ import annotations

from collections.abc import Callable

import altair
import streamlit as st

from attnviz.charts import compiled


def draw_chart(
    chart: altair.Chart, key: str, alt: str, on_select: Callable[[], None] | None = None
) -> None:
    """One chart at its own size.

    Args:
        key: the chart's name; the run after this one puts new numbers into the same picture.
        alt: what a screen reader says of it.
        on_select: called when a cell was clicked, if the chart has a selection.
    """
    # Without Streamlit's chart theme labels have the page's own text colour; its grey is too pale.
    st.vega_lite_chart(
        compiled(chart),
        width="content",
        theme=None,
        key=key,
        alt=alt,
        on_select=on_select or "ignore",
    )
