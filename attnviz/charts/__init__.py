"""Pure functions from numbers to Altair charts. Nothing here knows of Streamlit or of models.

Rows are queries and columns are keys in every matrix. Every chart carries its data as one Arrow
table and keeps everything else in a specification that stays the same while only numbers change, so
that a browser swaps the numbers in place instead of building the picture anew.
"""

from __future__ import annotations

from attnviz.charts.bar_chart import bars
from attnviz.charts.compiled import compiled
from attnviz.charts.heatmap import heatmap, heatmaps
from attnviz.charts.line_chart import lines
from attnviz.charts.palettes import Palette, nice_domain

__all__ = ["Palette", "bars", "compiled", "heatmap", "heatmaps", "lines", "nice_domain"]
