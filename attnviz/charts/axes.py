"""Token labels on axes, told apart by position: the same word twice is two rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import altair as alt

_CHARACTER = 6.5  # px, the width of an average character at the labels' size
_ROOM: Final = 84  # px, the longest label drawn; a longer one ends in an ellipsis
_LEGIBLE: Final = 11  # px, the smallest pitch at which every label can be drawn


def axis(labels: Sequence[str], title: str | None, pitch: float, *, orient: str) -> dict[str, Any]:
    """A Vega-Lite axis over the positions 0 .. n-1 that shows ``labels`` for them.

    Args:
        labels: what to write at each position; repeats are fine.
        pitch: pixels from one position to the next; labels thin out when it is small.
        orient: "left" for rows, "top" for columns.
    """
    if all(label == str(i) for i, label in enumerate(labels)):
        # Numbers say themselves, so that a matrix that only grows keeps its specification.
        return _axis(title, orient)
    longest = max((len(label) for label in labels), default=0) * _CHARACTER
    return _axis(title, orient) | {
        "labelExpr": f"{json.dumps(list(labels))}[datum.value]",
        "labelAngle": -45 if orient == "top" and longest > pitch else 0,
        "labelLimit": _ROOM,
        "labelOverlap": False if pitch >= _LEGIBLE else "greedy",
    }


def _axis(title: str | None, orient: str) -> dict[str, Any]:
    return {
        "title": title,
        "orient": orient,
        "labelAngle": 0,
        "labelOverlap": "greedy",
        "labelPadding": 4,
        "titlePadding": 6,
        "titleFontSize": 12,
        "labelFontSize": 11,
        "labelFlush": False,
    }


def heading(title: str | None, subtitle: str | None = None) -> Any:
    """A small title above the picture with a quieter line below it, or none."""
    if title is None:
        return alt.Undefined
    return {
        "text": title,
        "subtitle": subtitle or "",
        "anchor": "start",
        "fontSize": 13,
        "subtitleFontSize": 12,
        "subtitleColor": "gray",
        "offset": 8,
    }


def positioned(labels: Sequence[str]) -> list[str]:
    """Labels for hovering: the position, and the word where it says more than the position."""
    return [str(i) if label == str(i) else f"{i} · {label}" for i, label in enumerate(labels)]
