"""A training as a film: every head at each kept step, one of them large, with loss and scores.

The browser plays it without the server, so a message holds all frames; those that it has already
are left out (``Sent``). The selected head travels as its map, the others as thumbnails.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnviz.analysis.overviews import thumbnails
from attnviz.canvas import wire
from attnviz.canvas.grid import THUMBNAIL, GridPayload, thumbnail_bytes
from attnviz.canvas.map import map_payload
from attnviz.canvas.memo import Memo
from attnviz.canvas.naming import layer_name
from attnviz.trace import Trace
from attnviz.train.events import Event, of_kind
from attnviz.train.payoff import ScoreHistory

MAP_SIDE = 128  # cells a side of the selected head's map, pooled where the probe is longer
THUMBNAIL_CELLS = 40_000  # of all heads at one step
LEAST_THUMBNAIL = 8  # cells a side

Head = tuple[int, int]  # layer, head
Stamps = tuple[tuple[int, float], ...]  # step and time of each frame that was sent


@dataclass(frozen=True)
class FilmFrame:
    """The probe at one kept step.

    Attributes:
        stamp: the step, and when it was recorded. memo: caches what is computed from the trace.
    """

    stamp: tuple[int, float]
    trace: Trace
    memo: Memo


@dataclass(frozen=True)
class Sent:
    """What a browser was sent of a training: frames with thumbnails, and of each head's map."""

    thumbnails: Stamps = ()
    maps: tuple[tuple[Head, Stamps], ...] = ()


NOTHING_SENT = Sent()


@dataclass(frozen=True)
class FilmPayload:
    """A message of the film.

    Attributes:
        header, arrays: for the browser, see js/film/frames.js.
        sent: what the browser has once it has this.
    """

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]
    sent: Sent

    def encode(self, **display: object) -> bytes:
        """The message for the browser. display: how it is shown, such as ``height``."""
        return wire.pack({**self.header, **display}, self.arrays)


def film_payload(
    frames: Sequence[FilmFrame],
    history: ScoreHistory,
    events: tuple[Event, ...],
    *,
    id: str,
    last: int,
    selected: Head,
    at: int | None = None,
    sent: Sent = NOTHING_SENT,
) -> FilmPayload:
    """The film of a training, without the frames that were sent before.

    Args:
        frames: in the order of steps, at least one.
        id: of the training. last: its last step.
        selected: the head whose map is shown.
        at: the step to show first; by default the latest.
        sent: of an earlier message.

    Raises:
        AttnVizError: no such layer or head, or one that was refused.
    """
    stamps = tuple(frame.stamp for frame in frames)
    first_thumbs = _shared(sent.thumbnails, stamps)
    first_map = _shared(dict(sent.maps).get(selected, ()), stamps)
    size = _thumbnail_size(frames[0].trace)
    grids = [_cells(frame, size) for frame in frames[first_thumbs:]]
    maps = [_map(frame, selected) for frame in frames[first_map:]]
    newest, arrays = _map(frames[-1], selected)
    top = max(float(_map(frame, selected)[1]["rowMax"].max(initial=0)) for frame in frames)
    curves, names = _curves(events)
    heads = list(history.scores)
    header = {
        "mode": "film",
        "id": id,
        "steps": [step for step, _ in stamps],
        "last": last,
        "at": at,
        "selected": selected,
        "scoreTitle": history.scorer.title,
        "scoreRule": history.scorer.rule,
        "unit": history.scorer.unit,
        "heads": [
            {
                "layer": layer,
                "head": head,
                "name": _short_name(frames[0].trace, layer, head),
                "uniform": history.uniform[layer, head],
            }
            for layer, head in heads
        ],
        "emerged": [(heads.index(head), rise.step) for head, rise in history.emerged],
        "accuracies": names,
        "firstThumbs": first_thumbs,
        "firstMap": first_map,
        "mapId": f"{id}/{selected[0]}.{selected[1]}",
        "layers": _cells(frames[-1], size)[0],
        "map": {**newest, "top": top or 1.0},
    }
    scores = np.array([history.scores[head] for head in heads], np.float32)
    packed = {
        **curves,
        "scores": scores.reshape(len(heads), len(frames)).T,
        "cells": _stacked([cells for _, cells in grids], _cells(frames[-1], size)[1]),
        "codes": _stacked([one["base"] for _, one in maps], arrays["base"]),
        "rowMax": _stacked([one["rowMax"] for _, one in maps], arrays["rowMax"]),
        "colMax": _stacked([one["colMax"] for _, one in maps], arrays["colMax"]),
    }
    others = tuple((head, was) for head, was in sent.maps if head != selected)
    return FilmPayload(header, packed, Sent(stamps, (*others, (selected, stamps))))


def _shared(sent: Stamps, stamps: Stamps) -> int:
    """How many frames need not be sent: all that were, unless one of them has changed since."""
    return len(sent) if stamps[: len(sent)] == sent else 0


def _thumbnail_size(trace: Trace) -> int:
    """Cells along a thumbnail's longer side, so that a step's fit ``THUMBNAIL_CELLS``."""
    n_heads = sum(layer.n_heads for layer in trace.layers)
    side = math.isqrt(THUMBNAIL_CELLS // max(1, n_heads))
    return max(LEAST_THUMBNAIL, min(THUMBNAIL, side))


def _cells(frame: FilmFrame, size: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The layers of a grid, and the cells of all thumbnails."""

    def make() -> tuple[list[dict[str, Any]], np.ndarray]:
        trace = frame.trace
        small = {
            layer.index: thumbnail_bytes(
                trace, layer.index, thumbnails(trace, layer.index, size), size
            )
            for layer in trace.layers
            if layer.source != "refused"
        }
        titles = tuple(layer_name(trace, layer.index) for layer in trace.layers)
        grid = GridPayload(trace.layers, titles, small, (), size=size)
        header, arrays = wire.unpack(grid.encode())
        return header["layers"], arrays["cells"]

    return frame.memo(("film", "cells", size), make)


def _map(frame: FilmFrame, selected: Head) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of the selected head's map."""

    def make() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        payload = map_payload(frame.trace, *selected, size=MAP_SIDE)
        header, arrays = wire.unpack(payload.encode())
        return header, arrays

    return frame.memo(("film", "map", selected), make)


def _short_name(trace: Trace, layer: int, head: int) -> str:
    """ "L1 H2", or "C1 H2" for cross-attention; where it is drawn there is little room."""
    words = layer_name(trace, layer).split(" ")
    return f"{words[0][0]}{words[-1]} H{head}"


def _curves(events: tuple[Event, ...]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Loss and accuracy over the steps, and the names of the accuracies."""
    steps, evaluations = of_kind(events, "step"), of_kind(events, "evaluation")
    training = {e["step"]: e.get("loss") for e in steps}
    held_out = {e["step"]: e.get("loss") for e in evaluations}
    x = sorted({*training, *held_out})
    losses = [[_or_nan(one.get(step)) for step in x] for one in (training, held_out)]
    accuracies, names = _accuracies(evaluations)
    return {
        "lossSteps": np.array(x, np.float32),
        "losses": np.array(losses, np.float32),
        "accuracySteps": np.array([e["step"] for e in evaluations], np.float32),
        "accuracies": np.array(accuracies, np.float32),
    }, names


def _accuracies(evaluations: tuple[Event, ...]) -> tuple[list[list[float]], list[str]]:
    if not evaluations:
        return [], []
    tokens, exact = [e["accuracy"] for e in evaluations], [e["exact"] for e in evaluations]
    if tokens == exact:  # one label for each example
        return [tokens], ["answers"]
    if any(exact):
        return [tokens, exact], ["tokens", "full answers"]
    return [tokens], ["tokens"]  # running text: no example is right as a whole


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _stacked(arrays: Sequence[np.ndarray], like: np.ndarray) -> np.ndarray:
    """(frames, ...): of no frames too, with the shape that one has."""
    return np.stack(arrays) if arrays else np.zeros((0, *like.shape), like.dtype)
