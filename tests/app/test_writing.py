"""Generation on a page: what is requested, what is shown, how it continues and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.analysis.generation_rows import KEYS, Row
from attnviz.trace.call import Call
from attnviz.trace.generation import GenerationStep
from attnviz.trace.model import Model
from attnviz.trace.modifiers import ScoreModifiers
from attnviz.trace.passes import Passes
from attnviz.trace.records import QKVRecord
from attnviz.ui.executor import GRACE_SECONDS
from attnviz.ui.generate import results
from attnviz.ui.generate.live_view import rows_chart
from attnviz.ui.generate.progress import GenerationProgress
from attnviz.ui.shared import shared
from tests.app import folders

ROOT = Path(__file__).parent.parent.parent
CAPITAL = "The capital of France is"


def page() -> None:
    """The controls and their result, without a view of it."""
    import streamlit as st

    from attnviz.trace.requests import ModelChoice, TraceRequest
    from attnviz.ui import model_loading
    from attnviz.ui.error_display import attempt
    from attnviz.ui.generate import results, sampling

    choice = ModelChoice(st.query_params.get("model", "smollm2-135m"), "cpu")
    text = st.text_input("Text", st.query_params.get("text", ""), key="text")
    model = model_loading.load(choice, lambda ahead: None)
    request = sampling.controls(choice, model, TraceRequest(text=text))
    st.session_state["shown"] = attempt(
        lambda: results.trace_result(choice, request, lambda ahead: None, head=(4, 2))
    )


def opened(**parameters: str) -> AppTest:
    """The page as a link opens it in a new session."""
    app = AppTest.from_function(page, default_timeout=120)
    for key, value in parameters.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, label: str) -> AppTest:
    button = next(one for one in app.button if one.label == label)
    button.click().run()
    assert not app.exception
    return app


def shown(app: AppTest) -> results.TraceResult:
    assert not app.error
    found = app.session_state["shown"]
    assert isinstance(found, results.TraceResult)
    return found


def ids(app: AppTest) -> list[int]:
    """The generated tokens."""
    found = shown(app)
    tokens = found.trace.target_tokens or found.trace.tokens
    return [] if found.start is None else [token.id for token in tokens[found.start :]]


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Each call of ``generate``: tokens generated before, and tokens to generate."""
    found: list[tuple[int, int]] = []
    original = Model.generate

    def generate(self: Model, *args: Any, **options: Any) -> Any:
        found.append((len(options["after"]), options["max_new_tokens"]))
        return original(self, *args, **options)

    monkeypatch.setattr(Model, "generate", generate)
    shared.clear()
    yield found
    shared.clear()


def test_the_generated_text_is_shown_on_the_page(model: Model) -> None:
    app = AppTest.from_file(ROOT / "app.py", default_timeout=120)
    app.run()
    app.query_params["text"] = CAPITAL
    app.query_params["draw_tokens"] = "3"
    app.switch_page("pages/explore.py").run()
    for button, written in (("Generate", "3"), ("+1 token", "4")):
        press(app, button)
        assert not app.error
        assert app.query_params["written"] == written
    press(app, "Reset")
    assert not app.error
    assert "written" not in app.query_params


def test_the_page_generates_what_the_model_generates(model: Model) -> None:
    app = press(opened(text=CAPITAL, draw_tokens="3"), "Generate")
    made = model.generate(CAPITAL, max_new_tokens=3)
    assert shown(app).text == made.text
    assert shown(app).start == 5
    assert [t.text for t in shown(app).trace.tokens] == [t.text for t in made.trace.tokens]
    # each position's prediction is kept, and it is what was then written
    assert shown(app).trace.predictions(4)[0].id == made.tokens[0].id
    press(app, "Reset")
    assert ids(app) == []
    assert len(shown(app).trace.tokens) == 5


def test_one_token_continues_from_the_tokens_so_far(
    model: Model, calls: list[tuple[int, int]]
) -> None:
    app = press(opened(text=CAPITAL, draw_tokens="3"), "Generate")
    press(app, "+1 token")
    press(app, "+1 token")
    press(app, "Generate")
    assert calls == [(0, 3), (3, 1), (4, 1), (5, 3)]
    assert ids(app) == [t.id for t in model.generate(CAPITAL, after=(), max_new_tokens=8).tokens]
    assert shown(app).start == 5


def test_sampling_one_by_one_or_at_once_is_the_same(calls: list[tuple[int, int]]) -> None:
    link = {"text": CAPITAL, "draw_temperature": "1.5", "draw_top_k": "50", "draw_seed": "7"}
    app = opened(**link, written="1")
    for _ in range(3):
        press(app, "+1 token")
    shared.clear()
    at_once = opened(**link, written="4")
    assert calls == [(0, 1), (1, 1), (2, 1), (3, 1), (0, 4)]
    assert ids(app) == ids(at_once)
    # another way of drawing does not go on from this one
    at_once.number_input(key="draw_seed").set_value(8).run()
    assert calls[-1] == (0, 4)
    assert ids(at_once) != ids(app)


def test_a_link_with_a_seed_generates_the_same_again(model: Model) -> None:
    link = {"draw_temperature": "1.5", "draw_top_k": "50", "draw_seed": "7", "written": "4"}
    app = opened(text=CAPITAL, **link)
    made = model.generate(CAPITAL, max_new_tokens=4, temperature=1.5, top_k=50, seed=7)
    assert ids(app) == [token.id for token in made.tokens]


def test_another_text_has_no_generated_tokens() -> None:
    app = opened(text=CAPITAL, written="2")
    assert len(ids(app)) == 2
    app.text_input(key="text").set_value("The cat sat").run()
    assert ids(app) == []
    assert "written" not in app.query_params


def test_generating_more_than_fits_is_one_sentence(tmp_path: Path) -> None:
    folder = folders.one_head(tmp_path / "one_head")
    app = opened(model=str(folder), text="the cat sat", draw_tokens="40")
    press(app, "Generate")
    (error,) = app.error
    assert "would have 43; the maximum is 32" in error.value


def test_an_encoder_decoder_generates_its_target_and_continues(
    tmp_path: Path, calls: list[tuple[int, int]]
) -> None:
    folder = folders.encoder_decoder(tmp_path / "encoder_decoder")
    app = opened(model=str(folder), text="the cat sat on a mat", written="2")
    first = ids(app)
    assert shown(app).start == 1  # after the decoder's start
    press(app, "+1 token")
    assert calls == [(0, 2), (2, 1)]
    assert ids(app)[: len(first)] == first
    assert {layer.kind for layer in shown(app).trace.layers} == {"encoder", "decoder", "cross"}


def test_only_a_generative_model_has_the_button(tmp_path: Path) -> None:
    app = opened(model=str(folders.masked(tmp_path / "masked")), text="the cat sat")
    assert "Generate" not in {one.label for one in app.button}


def steps(n: int, head: int = 1) -> Iterator[tuple[GenerationStep, torch.Tensor]]:
    """The steps of n tokens generated after 3, made by hand; and the weights of a head."""
    torch.manual_seed(0)
    q, k = torch.randn(1, 2, 3 + n, 4), torch.randn(1, 2, 3 + n, 4)
    weights = (q[0, head] @ k[0, head].T).tril()
    weights = weights.masked_fill(torch.ones(3 + n, 3 + n).triu(1).bool(), -torch.inf).softmax(-1)
    passes = Passes(lambda module: "decoder")
    attention = torch.nn.Identity()
    for i in range(n):
        new = slice(0, 3) if i == 0 else slice(2 + i, 3 + i)
        keys = k[:, :, : 3 + i]
        layer = QKVRecord(q[:, :, new], keys, keys, ScoreModifiers(1.0))
        passes.add([Call(attention, layer, None, "exact", index=0)])
        yield GenerationStep(torch.arange(4 + i), passes), weights


def test_a_stopped_generation_without_viewers_ends() -> None:
    progress = GenerationProgress()
    one, two, three = (step for step, _ in steps(3))
    with progress.viewer():
        assert not progress.add(one)
    progress.left_at -= GRACE_SECONDS / 2
    assert not progress.add(two)  # a rerun may come back
    assert progress.stop() == 3  # the next one is on its way
    assert progress.add(three)
    assert progress.ids() == [3, 4, 5]


def test_one_of_two_viewers_cannot_stop_the_generation() -> None:
    progress = GenerationProgress()
    with progress.viewer():
        progress.stop()
        assert not progress.add(next(steps(1))[0])


def test_a_generation_without_viewers_ends() -> None:
    progress = GenerationProgress()
    with progress.viewer():
        pass
    progress.left_at -= GRACE_SECONDS + 1
    assert progress.add(next(steps(1))[0])


def test_rows_are_kept_of_followed_heads_alone() -> None:
    progress = GenerationProgress()
    with progress.viewer((0, 1)):
        for step, _ in steps(2):
            progress.add(step)
        assert set(progress.rows) == {(0, 1)}
        with progress.viewer((0, 1)):
            pass  # another viewer of the same head, who left
        kind, rows, text = progress.rows_of((0, 1))
    assert kind == "decoder"
    assert [row.query for row in rows] == [2, 3]  # that chose tokens 3 and 4
    assert text == [0, 1, 2, 3, 4]
    assert not progress.rows


def test_each_row_is_the_head_s_weights_for_a_late_viewer_too() -> None:
    early, late = GenerationProgress(), GenerationProgress()
    with early.viewer((0, 1)), late.viewer():
        for i, (step, whole) in enumerate(steps(6)):
            weights = whole
            early.add(step)
            if i < 5:
                late.add(step)
        with late.viewer((0, 1)):
            late.add(step)
            for progress in (early, late):
                _, rows, _ = progress.rows_of((0, 1))
                assert [row.query for row in rows] == [2, 3, 4, 5, 6, 7]
                for row in rows:
                    assert len(row.weights) >= row.query + 1
                    exact = weights[row.query, : len(row.weights)]
                    # by-hand softmax and ours add in another order
                    torch.testing.assert_close(torch.from_numpy(row.weights), exact)


def test_old_keys_share_a_column_that_holds_their_sum() -> None:
    weights = np.linspace(0, 1, KEYS + 50, dtype=np.float32)
    rows = [Row(query, weights[: query + 1]) for query in (KEYS + 48, KEYS + 49)]
    keys = [f"k{i}" for i in range(KEYS + 50)]
    table = rows_chart(rows, ["a", "b"], keys).data.to_pandas()
    first = table[table.column == 0]
    assert set(first["column label"]) == {"0 · 0 to 50 together"}
    assert first["value"].tolist() == pytest.approx([weights[:51].sum()] * 2)
    late = table[(table.column == KEYS - 1)].sort_values("row")
    assert late["shown"].tolist() == ["masked", "1"]
    assert late["column label"].iloc[0].endswith(f"{KEYS + 49} k{KEYS + 49}")
