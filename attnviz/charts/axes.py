"""Titles and axes of token labels: positions, so that a repeated token is two rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

_FONT: Final = '"Source Sans", sans-serif'  # the page's; Vega gives it to axes, not to titles
_CHARACTER_PX: Final = 6.5  # average width of a character at the labels' font size
_LABEL_PX: Final = 84  # the longest label drawn; a longer one ends in an ellipsis
_LEGIBLE_PX: Final = 11  # the smallest pitch at which every label can be drawn


def token_axis(
    labels: Sequence[str], title: str | None, pitch: float, *, orient: str
) -> dict[str, Any]:
    """A Vega-Lite axis over the positions 0 .. n-1 that shows ``labels`` for them.

    Args:
        labels: the text at each position; repeats are fine.
        pitch: pixels from one position to the next; labels are thinned out where it is small.
        orient: "left" for rows, "top" for columns.
    """
    if all(label == str(i) for i, label in enumerate(labels)):
        # Plain numbers need no list of labels, so a matrix that grows keeps its specification.
        return _axis(title, orient)
    longest = max((len(label) for label in labels), default=0) * _CHARACTER_PX
    return _axis(title, orient) | {
        "labelExpr": f"{json.dumps(list(labels))}[datum.value]",
        "labelAngle": -45 if orient == "top" and longest > pitch else 0,
        "labelLimit": _LABEL_PX,
        "labelOverlap": False if pitch >= _LEGIBLE_PX else "greedy",
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


def heading(title: str | None, subtitle: str | None = None) -> dict[str, Any]:
    """The ``title`` property: a small title with a quieter line below it; empty without one."""
    if title is None:
        return {}
    return {
        "title": {
            "text": title,
            "subtitle": subtitle or "",
            "anchor": "start",
            "font": _FONT,
            "subtitleFont": _FONT,
            "fontSize": 13,
            "subtitleFontSize": 12,
            "subtitleColor": "gray",
            "offset": 8,
        }
    }


def hover_labels(labels: Sequence[str]) -> list[str]:
    """Labels for tooltips: the position, and the text where it says more than the position."""
    return [str(i) if label == str(i) else f"{i} · {label}" for i, label in enumerate(labels)]
