"""Home: what it keeps is what the models say; it paints without them; its links lead somewhere."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.analysis.heads import head_metrics
from attnviz.models import catalog
from attnviz.trace import Model
from attnviz.ui.home import compute, navigation
from attnviz.ui.home.cards import cards
from attnviz.ui.home.computed_views import layer_view, sentence_view
from attnviz.ui.home.views import (
    HEADS,
    MASKED,
    MODEL,
    TEXT,
    WIDTHS,
    Matrix,
    kept,
    layer_name,
    scientific,
)
from attnviz.ui.query_params import LINK_BYTES
from attnviz.ui.sample_digits import digit_image

ROOT = Path(__file__).parents[2]
# Weights are rounded to thousandths, and float32 differs by some 1e-6 from processor to processor,
# so a number may fall to the other side of a half: one step. Probabilities have four decimals.
STEP = 1
PROBABILITY = 2e-4

FIRST_RUN = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[1], default_timeout=120).run()
assert not app.exception and not app.error, app.exception
heavy = {"torch", "transformers", "pandas", "pyarrow"} & set(sys.modules)
assert not heavy, heavy
print(len(app.main))
"""


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    yield attnviz.load(MODEL, device="cpu")


def assert_equal_maps(kept: Matrix, found: Matrix) -> None:
    """Equal but for one rounding step, and masked in the same cells."""
    assert len(kept) == len(found)
    for one, other in zip(kept, found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a == MASKED) == (b == MASKED)
            assert abs(a - b) <= STEP


def test_the_kept_sentence_is_the_models(model: Model) -> None:
    kept_view, found = kept()["sentence"], sentence_view(model, TEXT)
    assert kept_view["tokens"] == found["tokens"]
    assert kept_view["answers"][0][0] == " Mary".strip()
    for (word, p), (other, q) in zip(kept_view["answers"], found["answers"], strict=True):
        assert word == other
        assert abs(p - q) <= PROBABILITY
    assert [(h["layer"], h["head"], h["role"]) for h in kept_view["heads"]] == [
        (h["layer"], h["head"], h["role"]) for h in found["heads"]
    ]
    for one, other in zip(kept_view["heads"], found["heads"], strict=True):
        assert one["sentence"] == other["sentence"]
        assert_equal_maps(one["weights"], other["weights"])
    assert (kept_view["layers"], kept_view["verified"]) == (30, True)
    assert found["verified"]
    assert found["error"] < 1e-5


def test_the_kept_maps_are_a_traces_own_weights(model: Model) -> None:
    """Independent of how the views are made."""
    trace = model.trace(TEXT)
    for head in kept()["sentence"]["heads"]:
        weights = trace.attention(head["layer"], head["head"]).weights()
        for i, row in enumerate(head["weights"]):
            assert row[i + 1 :] == [MASKED] * (len(row) - i - 1)
            for j in range(i + 1):
                assert abs(row[j] / 1000 - float(weights[i, j])) <= 1e-3


def test_a_role_is_that_of_the_head_with_the_largest_metric(model: Model) -> None:
    metrics = head_metrics(model.trace(TEXT))
    chosen = {head["role"]: (head["layer"], head["head"]) for head in kept()["sentence"]["heads"]}
    for role, metric in (("previous-token head", "previous"), ("induction head", "induction")):
        best = max(metrics, key=lambda head: head.values[metric] or 0)
        assert chosen[role] == (best.layer, best.head)


def test_the_kept_layers_are_the_layer_labs() -> None:
    assert set(kept()["layers"]) == {layer_name(d, n) for d in WIDTHS for n in HEADS}
    for d_model in WIDTHS:
        for n_heads in HEADS:
            one, other = (
                kept()["layers"][layer_name(d_model, n_heads)],
                layer_view(TEXT, d_model, n_heads),
            )
            assert one["tokens"] == other["tokens"]
            assert len(one["heads"]) == n_heads
            for a, b in zip(one["heads"], other["heads"], strict=True):
                assert_equal_maps(a, b)


def test_the_kept_examples_are_the_models(model: Model) -> None:
    for one, other in zip(kept()["examples"], compute.examples(model), strict=True):
        assert (one["name"], one["title"], one["about"], one["params"]) == (
            other["name"],
            other["title"],
            other["about"],
            other["params"],
        )
        assert_equal_maps(one["weights"], other["weights"])
        assert one["image"] == other["image"]


def test_the_digits_image_is_the_one_that_explore_opens() -> None:
    (example,) = (one for one in kept()["examples"] if one["name"] == "digit")
    with Image.open(io.BytesIO(digit_image(int(example["params"]["digit"])))) as image:
        pixels = list(image.convert("L").tobytes())
    assert example["image"] is not None
    given = [ink for row in example["image"] for ink in row]
    assert all(abs(a / 255 - b / 1000) < 0.003 for a, b in zip(pixels, given, strict=True))


def test_the_kept_training_has_an_induction_head_that_was_not_there() -> None:
    training = kept()["training"]
    best = max(training["heads"].values(), key=lambda values: values[-1])
    assert training["steps"] == sorted(training["steps"])
    assert training["steps"][0] == 0
    assert best[0] < 200
    assert best[-1] > 900
    assert all(len(values) == len(training["steps"]) for values in training["heads"].values())


def test_the_first_run_loads_no_torch() -> None:
    """In a process of its own, where nothing else has loaded it."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_RUN, str(ROOT / "app.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_every_card_and_link_leads_to_a_page_that_there_is() -> None:
    known = {entry.name for entry in catalog.entries()}
    for card in cards(kept()):
        page, params = navigation.destination(card["name"], TEXT) or ("", {})
        assert (ROOT / "pages" / f"{page}.py").is_file()
        assert (page, params) == (card["page"], card["params"])
        if page == "explore":
            assert params["model"] in known
            assert len(quote(params.get("text", ""))) <= LINK_BYTES


@pytest.mark.parametrize(
    "name", ["", "head", "head 1", "head x y", "head -1 2", "nothing", "layer 1", "layer a b"]
)
def test_a_link_that_is_none_leads_nowhere(name: str) -> None:
    assert navigation.destination(name, TEXT) is None


def test_links_of_the_sentence_and_the_layer() -> None:
    assert navigation.destination("head 16 0", "a b") == (
        "explore",
        {"model": MODEL, "text": "a b", "layer": "16", "head": "0"},
    )
    assert navigation.destination("text one two", TEXT) == (
        "explore",
        {"model": MODEL, "text": "one two"},
    )
    assert navigation.destination("layer 32 8", "a b") == (
        "layer_lab",
        {"d_model": "32", "n_heads": "8", "text_lab": "a b"},
    )


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"try": "Paris is the capital of"}, ""),
        ({"try": "word " * 200}, "at most 48"),
        ({"try": "   "}, ""),
        ({"width": "7", "heads": "banana"}, ""),
    ],
)
def test_whatever_a_link_says_the_page_stands(query: dict[str, str], told: str) -> None:
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert bool(app.error) == bool(told)
    assert not told or told in app.error[0].value


def test_small_numbers_are_short() -> None:
    assert (scientific(9.54e-07), scientific(0.0), scientific(3e-12)) == ("1e-6", "0e0", "3e-12")
