"""Pure functions from numbers to Vega-Lite charts, without Streamlit and without models.

In every matrix rows are queries and columns are keys. A chart carries its data as one Arrow table;
everything else is in a specification that stays the same while only numbers change, so that a
browser replaces the numbers without building the picture again.
"""

from __future__ import annotations

from attnviz.charts.bar_chart import bars
from attnviz.charts.chart import Chart
from attnviz.charts.heatmap import heatmap, heatmaps
from attnviz.charts.line_chart import lines
from attnviz.charts.palettes import Palette, nice_domain

__all__ = ["Chart", "Palette", "bars", "heatmap", "heatmaps", "lines", "nice_domain"]
