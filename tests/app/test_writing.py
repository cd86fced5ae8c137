"""A model writes on the Explore page: what is asked for, what comes, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.ui import writing
from attnviz.ui.views import visible
from tests.app import folders

ROOT = Path(__file__).parent.parent.parent
CAPITAL = "The capital of France is"


def opened(**parameters: str) -> AppTest:
    """The page as a cold link opens it."""
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    app.run()
    for key, value in parameters.items():
        app.query_params[key] = value
    app.switch_page("pages/explore.py").run()
    assert not app.exception
    return app


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of small models, named as their builders."""
    root = tmp_path_factory.mktemp("models")
    for build in (folders.encoder_decoder, folders.masked, folders.one_head):
        build(root / build.__name__)
    return root


def choose(app: AppTest, model: Path) -> AppTest:
    # AppTest can't type a new name, only choose one that was typed before.
    app.session_state["models_typed"] = [str(model)]
    app.run()
    app.selectbox(key="model").set_value(str(model)).run()
    assert not app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    button = next(one for one in app.button if one.label == label)
    button.click().run()
    return app


def works(app: AppTest) -> None:
    assert not app.exception
    assert not app.error


def chips(app: AppTest) -> list[str]:
    """The tokens as they stand on the page."""
    return [chip.replace("\\", "") for chip in app.get_by_key("at").options]


def test_a_model_writes_and_all_of_it_is_shown() -> None:
    app = press(opened(text=CAPITAL, draw_tokens="3"), "Write")
    works(app)
    assert app.query_params["written"] == "3"
    made = attnviz.load("smollm2-135m", device="cpu").generate(CAPITAL, max_new_tokens=3)
    assert len(made.trace.tokens) == 8
    assert [("▸" in chip) for chip in chips(app)] == [False] * 5 + [True] * 3
    assert "Paris" in chips(app)[5]
    press(app, "One token")
    works(app)
    assert len(chips(app)) == 9
    # each position's prediction is kept, and it is what was then written
    app.get_by_key("at").set_value(4).run()
    assert any("Next token after 4" in caption.value for caption in app.caption)
    press(app, "Clear")
    works(app)
    assert len(chips(app)) == 5
    assert "written" not in app.query_params


def test_a_link_with_a_seed_writes_the_same_again() -> None:
    link = {"draw_temperature": "1.5", "draw_top_k": "50", "draw_seed": "7", "written": "4"}
    app = opened(text=CAPITAL, **link)
    works(app)
    made = attnviz.load("smollm2-135m", device="cpu").generate(
        CAPITAL, max_new_tokens=4, temperature=1.5, top_k=50, seed=7
    )
    seventh = "".join(chips(app))
    for token in made.tokens:
        assert visible(token.text) in seventh
    app.number_input(key="draw_seed").set_value(8).run()
    works(app)
    assert "".join(chips(app)) != seventh


def test_another_text_starts_unwritten() -> None:
    app = opened(text=CAPITAL, written="2")
    assert len(chips(app)) == 7
    app.text_area(key="text").set_value("The cat sat").run()
    works(app)
    assert len(chips(app)) == 3
    assert "written" not in app.query_params


def test_writing_more_than_fits_is_one_sentence(tiny: Path) -> None:
    app = choose(opened(text="the cat sat"), tiny / "one_head")
    app.slider(key="draw_tokens").set_value(40).run()
    press(app, "Write")
    assert not app.exception
    (error,) = app.error
    assert "would have 43, and the most is 32" in error.value


def test_an_encoder_decoder_writes_its_target(tiny: Path) -> None:
    app = choose(opened(text="the cat sat on a mat"), tiny / "encoder_decoder")
    app.slider(key="draw_tokens").set_value(2).run()
    press(app, "Write")
    works(app)
    start, *written = chips(app)  # the decoder's start, and what was written
    assert "▸" not in start
    assert len(written) in (1, 2)
    assert "▸" in written[0]


def test_only_a_model_that_writes_can_be_told_to(tiny: Path) -> None:
    app = choose(opened(), tiny / "masked")
    assert "Write" not in {one.label for one in app.button}


def test_a_writing_that_nobody_waits_for_stops() -> None:
    progress = writing.Progress()
    with progress.somebody_waits():
        assert not progress.heard(5)
    assert not progress.heard(6)  # a rerun may come back
    assert progress.stop() == 3  # the next one is on its way
    assert progress.heard(7)
    assert len(progress.ids) == 3


def test_two_wait_and_one_stops() -> None:
    progress = writing.Progress()
    with progress.somebody_waits():
        progress.stop()
        assert not progress.heard(5)
