"""A heatmap shows each number where it belongs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from attnviz.charts import Chart, heatmap, heatmaps
from tests.unit.charts.vega import validated

WORDS = ("the", "cat", "saw", "the", 'a "quoted" <b>\\word')


def cells(chart: Chart) -> list[dict[str, Any]]:
    (rows,) = validated(chart)["datasets"].values()
    return rows


def specification(chart: Chart) -> str:
    whole = validated(chart)
    del whole["datasets"]
    return json.dumps(whole, sort_keys=True)


def drawn(chart: Chart, shape: tuple[int, ...]) -> np.ndarray:
    """The chart's numbers put back into an array, by position."""
    array = np.full(shape, np.nan)
    for cell in cells(chart):
        where = (cell["panel"], cell["row"], cell["column"])[3 - len(shape) :]
        array[where] = np.nan if cell["value"] is None else cell["value"]
    return array


def test_the_table_has_the_given_numbers() -> None:
    values = np.random.default_rng(0).standard_normal((5, 5)).astype(np.float32)
    assert np.array_equal(drawn(heatmap(values, WORDS, WORDS), (5, 5)), values)


def test_the_same_word_twice_is_two_positions() -> None:
    chart = heatmap(np.eye(5), WORDS, WORDS)
    labels = {(c["row"], c["row label"]) for c in cells(chart)}
    assert {(0, "0 · the"), (3, "3 · the")} <= labels
    assert len(labels) == 5
    assert validated(chart)["encoding"]["y"]["field"] == "row"  # and not its label


def test_labels_survive_quoting() -> None:
    chart = heatmap(np.eye(5), WORDS, WORDS)
    expression = validated(chart)["encoding"]["x"]["axis"]["labelExpr"]
    assert json.loads(expression.removesuffix("[datum.value]")) == list(WORDS)


def test_masked_cells_are_marked() -> None:
    values = np.array([[1.5, -np.inf], [0.25, 0.0]])
    shown = {(c["row"], c["column"]): c["shown"] for c in cells(heatmap(values, "ab", "ab"))}
    assert shown == {(0, 0): "1.5", (0, 1): "masked", (1, 0): "0.25", (1, 1): "0"}
    hidden = np.array([[False, False], [False, True]])
    masked = {
        (c["row"], c["column"]): c["hatched"]
        for c in cells(heatmap(values, "ab", "ab", masked=hidden))
    }
    assert masked == {(0, 0): False, (0, 1): True, (1, 0): False, (1, 1): True}


def test_tooltips_have_seven_digits() -> None:
    value = np.float32(0.123456789)
    (cell,) = cells(heatmap(np.array([[value]]), "a", "b"))
    assert cell["shown"] == "0.1234568"


def test_only_data_changes_when_only_numbers_change() -> None:
    """The browser then swaps the numbers in place, which is what makes a slider feel live."""
    one, two = np.full((5, 5), 0.61), np.full((5, 5), 0.69)
    for draw in (
        lambda v: heatmap(v, WORDS, WORDS, picked=(int(v[0, 0] * 100) % 5, 2), select="pick"),
        lambda v: heatmaps(np.stack([v, v]), WORDS, WORDS, ["head 0", "head 1"]),
    ):
        assert specification(draw(one)) == specification(draw(two))


def test_the_size_depends_on_the_shape_alone() -> None:
    sizes = {
        (chart["width"], chart["height"])
        for chart in (
            validated(heatmap(np.full((3, 40), v), "abc", [str(i) for i in range(40)]))
            for v in (0.0, 1e-9, 5e6)
        )
    }
    assert len(sizes) == 1


def test_colors_cover_the_domain_evenly() -> None:
    scale = validated(heatmap(np.array([[-1.1, 0.2]]), "a", "bc", palette="diverging"))
    domain = scale["encoding"]["color"]["scale"]["domain"]
    assert domain == [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    legend = scale["encoding"]["color"]["legend"]
    assert legend["values"] == [-1.5, 0.0, 1.5]


def test_the_picked_cell_is_drawn_last() -> None:
    chart = heatmap(np.eye(5), WORDS, WORDS, picked=(1, 3))
    assert [(c["row"], c["column"]) for c in cells(chart) if c["picked"]] == [(1, 3)]
    assert cells(chart)[-1]["picked"]


def test_panels_keep_their_numbers_apart() -> None:
    values = np.random.default_rng(1).random((3, 5, 5))
    chart = heatmaps(values, WORDS, WORDS, ["head 0", "head 1", "head 2"], select="pick")
    assert np.array_equal(drawn(chart, (3, 5, 5)), values)
    assert validated(chart)["params"][0]["select"]["fields"][-1] == "panel"


def test_one_mask_serves_every_panel() -> None:
    mask = np.triu(np.ones((2, 2), dtype=bool), 1)
    chart = heatmaps(np.ones((3, 2, 2)), "ab", "ab", "xyz", masked=mask)
    assert {(c["row"], c["column"]) for c in cells(chart) if c["hatched"]} == {(0, 1)}
    assert sum(c["hatched"] for c in cells(chart)) == 3


@pytest.mark.parametrize(
    "draw",
    [
        lambda: heatmap(np.zeros((2, 3)), "ab", "ab"),
        lambda: heatmap(np.zeros(3), "abc", "a"),
        lambda: heatmap(np.zeros((2, 2)), "ab", "ab", masked=np.zeros((2, 3), dtype=bool)),
        lambda: heatmaps(np.zeros((2, 2, 2)), "ab", "ab", ["one name"]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(draw: Any) -> None:
    with pytest.raises(ValueError, match="shape"):
        draw()
