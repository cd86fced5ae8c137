"""Bars and lines keep their numbers and their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnviz.charts import Chart, bars, lines
from tests.unit.charts.vega import validated


def points(chart: Chart) -> list[dict[str, Any]]:
    (rows,) = validated(chart)["datasets"].values()
    return rows


def test_bars_keep_order_and_repeats() -> None:
    drawn = points(bars([0.5, -np.inf, -2.0], ["a", "b", "a"], picked=2))
    assert [(d["position"], d["label"], d["value"], d["shown"]) for d in drawn] == [
        (0, "0 · a", 0.5, "0.5"),
        (1, "1 · b", None, "masked"),
        (2, "2 · a", -2.0, "-2"),
    ]
    assert [d["picked"] for d in drawn] == [False, False, True]


def test_lines_may_differ_in_length_and_have_gaps() -> None:
    drawn = points(lines({"short": [1.0, np.nan], "long": [3.0, 4.0, 5.0]}, x=[10, 20, 30]))
    assert [(d["series"], d["x"], d["value"]) for d in drawn] == [
        ("short", 10, 1.0),
        ("short", 20, None),
        ("long", 10, 3.0),
        ("long", 20, 4.0),
        ("long", 30, 5.0),
    ]


def test_labels_must_fit() -> None:
    with pytest.raises(ValueError, match="labels"):
        bars([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="positions"):
        lines({"a": [1.0, 2.0]}, x=[0])
