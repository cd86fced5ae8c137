"""The curves of a training: loss, and accuracy on held-out data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from attnviz import charts
from attnviz.train.events import Event, of_kind
from attnviz.ui.charting import draw_chart

MANY_POINTS = 100  # beyond which the points are drawn small
WIDTH = 480  # px at most


def training_curves(events: tuple[Event, ...]) -> None:
    """Loss over steps, and below it the accuracy on held-out data."""
    steps, evaluations = of_kind(events, "step"), of_kind(events, "evaluation")
    if not steps:
        st.caption("The loss curve appears after the first steps.")
        return
    _loss(steps, evaluations)
    if evaluations:
        _accuracy(evaluations)


def _loss(steps: tuple[Event, ...], evaluations: tuple[Event, ...]) -> None:
    x = np.array([e["step"] for e in steps])
    training = np.array([_or_nan(e.get("loss")) for e in steps], dtype=float)
    held_out = np.full(len(x), np.nan)
    for e in evaluations:
        held_out[np.searchsorted(x, e["step"]).clip(max=len(x) - 1)] = _or_nan(e.get("loss"))
    series = {"training": training, "held-out": held_out}
    alt = f"Loss by step; latest {training[-1]:.4g}"
    _draw(series, x, "loss (nats)", height=300, key="loss", alt=alt)


def _accuracy(evaluations: tuple[Event, ...]) -> None:
    accuracy = [e["accuracy"] for e in evaluations]
    if all(e["exact"] == e["accuracy"] for e in evaluations):  # one label for each example
        series = {"answers": accuracy}
    elif any(e["exact"] for e in evaluations):
        series = {"tokens": accuracy, "full answers": [e["exact"] for e in evaluations]}
    else:  # running text: no example is right as a whole
        series = {"tokens": accuracy}
    x = np.array([e["step"] for e in evaluations])
    alt = f"Held-out accuracy by step; latest {accuracy[-1]:.1%}"
    _draw(series, x, "held-out accuracy", (0.0, 1.0), height=260, key="accuracy", alt=alt)


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _draw(
    series: Mapping[str, np.ndarray | Sequence[float]],
    steps: np.ndarray,
    y_title: str,
    domain: tuple[float, float] | None = None,
    *,
    height: int,
    key: str,
    alt: str,
) -> None:
    """Curves over training steps, as wide as the column."""
    n_points = sum(int(np.isfinite(values).sum()) for values in series.values())
    chart = charts.lines(
        series,
        x=steps,
        x_title="step",
        x_format=",d",
        y_title=y_title,
        domain=domain,
        point_size=9 if n_points > MANY_POINTS else 24,
        bridge_gaps=True,  # from evaluation to evaluation
        legend="top",
    ).properties(autosize={"type": "fit", "contains": "padding"}, height=height)
    with st.container(width=WIDTH):
        draw_chart(chart, key, alt, width="stretch")
