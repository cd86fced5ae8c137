"""What Home draws, as its component takes it: plain JSON, kept in ``kept.json`` or computed live.

Weights travel as whole thousandths (830 is 0.83) and ``MASKED`` for a cell no weight is allowed in.
Nothing here, nor in what it imports, loads torch: the page paints before that.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final, TypedDict

KEPT: Final = Path(__file__).with_name("kept.json")
MODEL: Final = "smollm2-135m"
TEXT: Final = "When Mary and John went to the store, John gave a drink to"
WIDTHS: Final = (8, 16, 32, 64)  # of the layer's d_model
HEADS: Final = (1, 2, 4, 8)  # each divides every width
D_MODEL, N_HEADS = 16, 4  # at first, as in the Layer lab
MASKED: Final = -1

Matrix = list[list[int]]  # thousandths; rows are queries


class HeadView(TypedDict):
    """A head of the sentence, with its role and its sentence from the metrics."""

    layer: int
    head: int
    role: str
    sentence: str
    weights: Matrix


class SentenceView(TypedDict):
    """A text in a model: its tokens, the likeliest next ones, and its telling heads.

    error: the largest difference between a recomputed layer and the model's own; layers: how many
    layers were compared. verified: all of them are within rounding.
    """

    text: str
    tokens: list[str]
    answers: list[tuple[str, float]]
    heads: list[HeadView]
    layers: int
    error: float
    verified: bool


class LayerView(TypedDict):
    """The weights of a layer with random parameters, a matrix for each head."""

    tokens: list[str]
    heads: list[Matrix]


class ExampleView(TypedDict):
    """One thumbnail and where it leads.

    name: stands for it in messages. page, params: the address. weights: a head's map, or an
    image's, whose cells are its patches. image: pixels from 0 to 1000, for an image.
    """

    name: str
    title: str
    about: str
    page: str
    params: dict[str, str]
    weights: Matrix
    image: Matrix | None


class TrainingView(TypedDict):
    """The induction metric of each head over the steps of a training; values in thousandths."""

    steps: list[int]
    heads: dict[str, list[int]]


class Kept(TypedDict):
    """Everything in ``kept.json``; ``python -m attnviz.ui.home.compute`` writes it.

    layers: a `LayerView` for each d_model and number of heads, by ``layer_name``.
    """

    sentence: SentenceView
    layers: dict[str, LayerView]
    examples: list[ExampleView]
    training: TrainingView


@cache
def kept() -> Kept:
    """The kept results. They are shared: change nothing in them."""
    result: Kept = json.loads(KEPT.read_text(encoding="utf-8"))
    return result


def layer_name(d_model: int, n_heads: int) -> str:
    """The key of a layer in ``Kept.layers``."""
    return f"{d_model}x{n_heads}"


def as_thousandths(values: Any) -> list[Any]:
    """Numbers from 0 to 1 (a tensor or an array) as nested lists of whole thousandths."""
    result: list[Any] = (values * 1000).round().int().tolist()
    return result


def scientific(value: float) -> str:
    """A small number in few characters.

    >>> scientific(9.54e-07)
    '1e-6'
    """
    digits, exponent = f"{value:.0e}".split("e")
    return f"{digits}e{int(exponent)}"
