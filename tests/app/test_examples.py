"""What a model opens on in Explore, and what follows from one model to another."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.analysis.heads import baselines, head_metrics
from attnviz.analysis.roles import most_structured
from attnviz.models import catalog
from attnviz.models.examples import Example
from tests.app import folders
from tests.app.test_explore import canvases, choose, opened, shows_a_head

NAMES = ("smollm2-135m", "minilm-l6", "tiny-dates", "tiny-digits", "tiny-induction")
EXAMPLES = {name: catalog.examples_of(name) for name in NAMES}
TYPED = "Rain falls on the old town"


def shows(app: AppTest, example: Example) -> None:
    """The page shows the example's input, head and cell, and says why."""
    shows_a_head(app)
    if example.digit is None:
        assert app.text_area(key="text").value == example.text
    shown = canvases(app)[2][0]
    if example.digit is None:
        assert shown["cell"] == [example.query, example.key]
    else:  # an image opens on its own view, which shows the query's row
        assert (shown["mode"], shown["query"]) == ("image", example.query)
    assert (app.slider(key="layer").value, app.slider(key="head").value) == (
        example.layer,
        example.head,
    )
    said = "\n".join(one.value for one in app.markdown).replace("\\", "")
    assert f"**{example.title}** · {example.about}" in said


@pytest.mark.parametrize("name", NAMES)
def test_a_model_opens_on_its_first_example(name: str) -> None:
    app = opened(model=name)
    shows(app, EXAMPLES[name][0])
    assert list(app.get("menu_button")[0].options) == [one.title for one in EXAMPLES[name]]


def test_an_example_stays_with_its_model_and_returns_with_it() -> None:
    app = opened()
    for name in ("tiny-dates", "tiny-digits", "minilm-l6", "smollm2-135m"):
        shows(choose(app, name), EXAMPLES[name][0])


def test_what_was_typed_follows_to_a_model_that_can_read_it() -> None:
    app = opened()
    app.text_area(key="text").set_value(TYPED).run()
    choose(app, "minilm-l6")
    assert app.text_area(key="text").value == TYPED
    assert not app.info
    trace = attnviz.load("minilm-l6", device="cpu").trace(TYPED)
    uniform = [one for layer in trace.layers for one in baselines(trace, layer.index)]
    best = most_structured(head_metrics(trace), uniform)
    assert best is not None
    assert (app.slider(key="layer").value, app.slider(key="head").value) == (best.layer, best.head)
    # an image model reads none; the text is not lost
    shows(choose(app, "tiny-digits"), EXAMPLES["tiny-digits"][0])
    choose(app, "minilm-l6")
    assert app.text_area(key="text").value == TYPED


def test_a_text_that_a_model_cannot_read_stays_behind() -> None:
    app = opened()
    app.text_area(key="text").set_value("雨が降る").run()
    choose(app, "tiny-induction")
    shows(app, EXAMPLES["tiny-induction"][0])
    assert "can't read your text (it does not know most of the words)" in app.info[0].value
    choose(app, "smollm2-135m")
    assert app.text_area(key="text").value == "雨が降る"
    assert not app.info


def test_a_link_has_the_last_word() -> None:
    app = opened(model="tiny-induction", text="abcabc", layer="0", head="1")
    assert app.text_area(key="text").value == "abcabc"
    assert (app.slider(key="layer").value, app.slider(key="head").value) == (0, 1)
    app = opened(model="tiny-induction", text="abcabc")
    assert (app.slider(key="layer").value, app.slider(key="head").value) == (1, 2)
    assert canvases(app)[2][0]["cell"] is None


def test_a_model_without_examples_opens_on_its_most_structured_head(tmp_path: Path) -> None:
    folders.masked(tmp_path / "masked")
    text = "the cat sat on the mat the cat sat"
    app = opened(model=str(tmp_path / "masked"), text=text)
    trace = attnviz.load(str(tmp_path / "masked"), device="cpu").trace(text)
    uniform = [one for layer in trace.layers for one in baselines(trace, layer.index)]
    best = most_structured(head_metrics(trace), uniform)
    assert best is not None
    assert (app.slider(key="layer").value, app.slider(key="head").value) == (best.layer, best.head)
    assert not app.get("menu_button")
