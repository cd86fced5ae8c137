"""The Explore page, every control of it moved, and every kind of bad input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

import attnviz
from attnviz.canvas import wire
from attnviz.canvas.codecs import codec_of
from attnviz.errors import AttnVizError
from attnviz.trace.lengths import check_length
from attnviz.trace.requests import TraceRequest
from attnviz.ui.explore import head_view
from attnviz.ui.explore.head_payload import IMAGE
from tests.app import folders

CAPITAL = "The capital of France is"
ROOT = Path(__file__).parent.parent.parent
VIEWS = tuple(view for view in head_view.VIEWS if view != IMAGE)  # of a text


def opened(**parameters: str) -> AppTest:
    """The page as a link opens it in a new session."""
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
    for build in (folders.encoder_decoder, folders.masked, folders.one_head, folders.vision):
        build(root / build.__name__)
    return root


def captions(app: AppTest) -> str:
    return "\n".join(caption.value for caption in app.caption).replace("\\", "")


def choose(app: AppTest, model: Path | str) -> AppTest:
    if str(model) not in app.selectbox(key="model").options:
        # AppTest can't type a new name, only choose one that was typed before.
        app.session_state["models_typed"] = [str(model)]
        app.run()
    app.selectbox(key="model").set_value(str(model)).run()
    assert not app.exception
    return app


def says(app: AppTest, *words: str) -> None:
    """One sentence on the page says this, and the picture is still there."""
    assert not app.exception
    assert len(app.error) == 1
    sentence = app.error[0].value.replace("\\", "")
    for word in words:
        assert word in sentence
    assert "Traceback" not in sentence


def shows_a_head(app: AppTest, pins: int = 0) -> None:
    assert not app.exception
    assert not app.error
    assert [canvas["mode"] for canvas, _ in canvases(app)][:2] == ["strip", "grid"]
    assert len(canvases(app)) == 4 + pins  # and the head itself, and the stream
    assert "Verified: recomputing this layer" in captions(app)


def canvases(app: AppTest) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """The payload of each canvas, from the page's top down."""
    found = [one.proto for one in app.get("bidi_component")]
    return [wire.unpack(one.bytes) for one in found if one.component_name == "attnviz.canvas"]


def chips(app: AppTest) -> list[str]:
    """The tokens of the strip."""
    (strip, _), *_ = canvases(app)
    return [name for section in strip["sections"] for name in section["names"]]


def test_the_first_view() -> None:
    app = opened()
    shows_a_head(app)
    assert app.selectbox(key="model").value == "smollm2-135m"
    assert "30 layers of 9 heads (3 key/value)" in captions(app)
    assert "Next token after 13" in captions(app)


def test_every_view_of_a_head() -> None:
    app = opened()
    for view in VIEWS:
        app.segmented_control(key="show").set_value(view).run()
        shows_a_head(app)


def test_each_view_receives_its_own_numbers() -> None:
    trace = attnviz.load("smollm2-135m", device="cpu").trace(CAPITAL)
    a = trace.attention(4, 2)
    exact = {"Q": a.q, "K": a.k, "V": a.v, "Output": a.output()}
    app = opened(text=CAPITAL, layer="4", head="2")
    for view in VIEWS:
        app.segmented_control(key="show").set_value(view).run()
        assert head_view.VIEWS[view] in captions(app)
        header, arrays = canvases(app)[2]
        if view in exact:
            np.testing.assert_array_equal(arrays["exact"], exact[view].numpy())
        elif view in ("Map", "Scores"):
            shown = codec_of(header["base"]["codec"]).decode(arrays["base"])
            truth = (a.weights() if view == "Map" else a.scores()).numpy()
            seen = np.isfinite(a.scores().numpy())
            # four digits of a weight, the steps of a score
            np.testing.assert_allclose(shown[seen], truth[seen], rtol=5.1e-4, atol=1e-3)
            assert np.isnan(shown[~seen]).all()
        else:
            assert header["mode"] == view.lower()


def test_layer_head_and_token_move() -> None:
    app = opened()
    app.slider(key="layer").set_value(29).run()
    app.slider(key="head").set_value(8).run()
    shows_a_head(app)
    header, _ = canvases(app)[2]
    assert header["title"] == "Layer 29, head 8: weights"


def test_device_precision_and_limit_move() -> None:
    app = opened()
    app.selectbox(key="device").set_value("cpu").run()
    shows_a_head(app)
    app.selectbox(key="dtype").set_value("bfloat16").run()
    shows_a_head(app)
    assert "bfloat16 on cpu" in captions(app)
    app.select_slider(key="limit").set_value(256).run()
    shows_a_head(app)


def test_a_link_restores_the_view() -> None:
    app = opened(text="The capital of France is", layer="4", head="2", show="Scores", at="1")
    shows_a_head(app)
    assert app.text_area(key="text").value == "The capital of France is"
    assert (app.slider(key="layer").value, app.slider(key="head").value) == (4, 2)
    assert app.segmented_control(key="show").value == "Scores"
    assert "Next token after 1 “ capital”" in captions(app)
    (strip, _), _, (scores, _), (stream, _) = canvases(app)
    assert strip["focus"] == ["row", 1]
    assert scores["title"] == "Layer 4, head 2: scores"
    assert scores["focus"] == stream["focus"] == ["row", 1]


def test_a_link_with_nonsense_in_it_opens() -> None:
    nonsense = {"zoom": "m9-2.3-1", "cell": "decoder.88.99", "pins": "soup", "written": "-1"}
    link = {"layer": "999", "head": "-3", "show": "Soup", "at": "99999", "limit": "7"}
    app = opened(device="abacus", **link, **nonsense)
    shows_a_head(app)


def test_zoom_and_cell_are_in_the_link() -> None:
    app = opened(text="word " * 40, zoom="m10-20.5-25", cell="decoder.12.7", at="12")
    header, _ = canvases(app)[2]
    assert (header["view"], header["cell"]) == ({"rows": [10, 20], "cols": [5, 25]}, [12, 7])
    # a zoom on the map is none on the vectors, and what a shorter text lacks is left out
    app.segmented_control(key="show").set_value("Q").run()
    assert canvases(app)[2][0]["view"] is None
    app.segmented_control(key="show").set_value("Map").run()
    app.text_area(key="text").set_value("Short").run()
    header, _ = canvases(app)[2]
    assert (header["view"], header["cell"], header["focus"]) == (None, None, None)
    assert not {"cell", "at"} & set(app.query_params)  # they were of another text


def test_a_cell_is_of_one_kind_of_map(tiny: Path) -> None:
    app = choose(opened(text="the cat sat on a mat"), tiny / "encoder_decoder")
    app.text_area(key="target").set_value("the old dog").run()
    app.query_params["at"], app.query_params["cell"] = "2", "cross.2.1"
    for kind, cell, focus in (
        ("cross", [2, 1], ["row", 2]),
        ("decoder", None, ["row", 2]),
        ("encoder", None, None),
    ):
        app.segmented_control(key="kind").set_value(kind).run()
        header, _ = canvases(app)[2]
        assert (header["cell"], header["focus"]) == (cell, focus)


def test_a_long_text_has_all_of_its_tokens() -> None:
    app = opened(text="word " * 1200, limit="2048")
    shows_a_head(app)
    assert len(chips(app)) == 1201
    header, arrays = canvases(app)[2]
    assert header["shape"] == [1201, 1201]
    assert arrays["base"].shape == (601, 601)  # the largest of 2 x 2
    app.segmented_control(key="show").set_value("K").run()
    assert canvases(app)[2][1]["exact"].shape == (1201, 64)


def test_a_text_too_long_for_a_link_says_so() -> None:
    app = opened()
    app.text_area(key="text").set_value("tired cat " * 700).run()
    shows_a_head(app)
    assert "too long for a link" in captions(app)
    assert "text" not in app.query_params
    app.text_area(key="text").set_value("A cat").run()
    assert app.query_params["text"] == "A cat"


def test_a_model_without_predictions_says_so() -> None:
    app = choose(opened(), "minilm-l6")
    assert not app.error
    assert "Verified: recomputing this layer" in captions(app)
    assert "predicts no tokens" in captions(app)
    app.text_area(key="text").set_value(CAPITAL)
    app.text_area(key="pair").set_value("A second sentence.").run()
    assert not app.exception
    assert len(chips(app)) == 5 + 4 + 3  # words and special tokens


def test_a_masked_word_is_guessed(tiny: Path) -> None:
    app = choose(opened(text="the cat sat"), tiny / "masked")
    assert "Type [MASK] in the text" in captions(app)
    app.text_area(key="text").set_value("the [MASK] sat").run()
    shows_a_head(app)
    assert "At the mask" in captions(app)


def test_an_encoder_decoder_shows_its_three_attentions(tiny: Path) -> None:
    app = choose(opened(text="the cat sat on a mat"), tiny / "encoder_decoder")
    app.text_area(key="target").set_value("the old dog").run()
    for kind in ("encoder", "decoder", "cross"):
        app.segmented_control(key="kind").set_value(kind).run()
        app.slider(key="layer").set_value(1).run()
        app.slider(key="head").set_value(2).run()
        shows_a_head(app)
        for view in VIEWS:
            app.segmented_control(key="show").set_value(view).run()
            shows_a_head(app)
    (strip, _), *_ = canvases(app)
    assert [section["title"] for section in strip["sections"]] == ["Source", "Target"]
    # a source token is in focus where a map has it
    app.query_params["at"] = "s2"
    for kind, focus in (("encoder", ["row", 2]), ("decoder", None), ("cross", ["col", 2])):
        app.segmented_control(key="kind").set_value(kind).run()
        assert canvases(app)[0][0]["focus"] == focus


def test_a_lone_layer_and_head(tiny: Path) -> None:
    app = choose(opened(text="the cat sat"), tiny / "one_head")
    shows_a_head(app)
    assert app.slider(key="layer_only").disabled


def test_a_smaller_model_after_a_larger_one(tiny: Path) -> None:
    app = opened(layer="29", head="8", text="the cat sat")
    choose(app, tiny / "masked")
    assert not app.error
    assert app.slider(key="layer").value <= 1


def test_an_image_and_a_file_that_is_none(tiny: Path) -> None:
    app = choose(opened(), tiny / "vision")
    assert "Upload an image" in captions(app)
    picture = io.BytesIO()
    Image.new("RGB", (50, 40), "teal").save(picture, "PNG")
    app.file_uploader(key="image").upload("teal.png", picture.getvalue()).run()
    shows_a_head(app)
    assert chips(app)[-1] == "patch 3,3"
    (shown,) = [header for header, _ in canvases(app) if header["mode"] == "image"]
    assert shown["grid"] == [4, 4] and shown["size"] == [50, 40] and shown["query"] is None
    app.segmented_control(key="show").set_value("Map").run()
    shows_a_head(app)
    assert not [header for header, _ in canvases(app) if header["mode"] == "image"]
    assert "The class of the whole image" in captions(app)
    app.file_uploader(key="image").upload("broken.png", b"\x89PNG nothing more").run()
    says(app, "not an image")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("without_a_model", ("model",)),
        ("a_pickle", ("safetensors",)),
        ("truncated", ("model.safetensors",)),
        ("own_code", ("needs code",)),
        ("larger_than_memory", ("memory",)),
    ],
)
def test_a_bad_folder_is_one_sentence_and_nothing_is_lost(
    name: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    app = opened(text="the cat sat")
    choose(app, getattr(folders, name)(tmp_path / name))
    says(app, *words)
    assert app.text_area(key="text").value == "the cat sat"
    assert "smollm2-135m" in captions(app)
    assert len(canvases(app)) == 4


@pytest.mark.parametrize(
    "name", ["no-such-org/no-such-model", "/no/such/folder", "no-such-file.gguf", "a b*c|$d"]
)
def test_a_name_that_leads_nowhere(name: str) -> None:
    app = choose(opened(), name)
    says(app)
    assert len(canvases(app)) == 4


def test_a_new_session_with_a_link_to_a_missing_model() -> None:
    app = opened(model="/no/such/folder")
    says(app, "/no/such/folder")
    assert "Choose a model" in captions(app)
    choose(app, "smollm2-135m")
    shows_a_head(app)


def test_empty_text_keeps_the_last_view() -> None:
    app = opened()
    app.text_area(key="text").set_value("").run()
    says(app, "empty")
    assert "last view that worked" in captions(app)
    assert len(canvases(app)) == 4


def test_text_over_the_limit_keeps_the_last_view() -> None:
    app = opened(limit="256")
    app.text_area(key="text").set_value("word " * 300).run()
    says(app, "301 tokens", "256")
    assert len(canvases(app)) == 4
    app.select_slider(key="limit").set_value(512).run()
    shows_a_head(app)


def test_token_text_is_shown_as_it_is() -> None:
    text = "**bold** <b>x</b> $y$ :smile: [a](b) `code` 猫"
    app = opened(text=text)
    shows_a_head(app)
    shown = chips(app)
    parts = [name for name in shown if "猫" in name]  # each says which part of it it is
    assert (
        parts
        == [f" 猫 1/{len(parts)}", *(f"猫 {k}/{len(parts)}" for k in range(2, 9))][: len(parts)]
    )
    assert "".join(shown[: -len(parts)]) + " 猫" == text


def test_heads_are_pinned_and_unpinned() -> None:
    app = opened(text="The cat sat", layer="4", head="2", pins="1.3,99.0,soup,1.3")
    shows_a_head(app, pins=1)
    next(one for one in app.button if one.label == "Pin this head").click().run()
    shows_a_head(app, pins=2)
    assert app.query_params["pins"] == "1.3,4.2"
    assert next(one for one in app.button if one.label == "Pin this head").disabled
    titles = [header.get("title") for header, _ in canvases(app)]
    assert titles[3:5] == ["Layer 1, head 3: weights", "Layer 4, head 2: weights"]
    app.button(key="unpin_1_3").click().run()
    app.button(key="unpin_4_2").click().run()
    shows_a_head(app)
    assert "pins" not in app.query_params


def test_the_limit_is_of_both_sentences_together() -> None:
    model = attnviz.load("minilm-l6", device="cpu")
    words = " ".join(["word"] * 200)
    assert check_length(model, TraceRequest(words), 256) == 202
    with pytest.raises(AttnVizError, match=r"The text has 403 tokens and the limit is 256"):
        check_length(model, TraceRequest(words, pair=words), 256)


def test_of_a_long_text_the_receipt_is_there_at_once_and_complete_on_request() -> None:
    app = opened(text=" ".join(["A quick fox"] * 60))
    said = captions(app)
    assert "in 32 of 180 rows" in said
    app.button(key="check_all_rows").click().run()
    assert not app.exception
    assert "in all 180 rows" in captions(app)
    app.slider(key="head").set_value(3).run()  # another head of the layer: its rows stay checked
    assert "in all 180 rows" in captions(app)
    assert not [one for one in app.button if one.key == "check_all_rows"]


def test_a_grid_is_filled_in_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a long text: the time suffices for a layer or so."""

    def ends(app: AppTest) -> bool:
        (button,) = [b for b in app.get("download_button") if b.label == "Heads as CSV"]
        return not button.proto.disabled

    monkeypatch.setattr("attnviz.ui.explore.head_grid.MOMENT", 1e-4)
    app = opened(text="Its grid is read little by little.")
    seen: list[int] = []
    while not (done := ends(app)) and len(seen) < 40:
        shows_a_head(app)
        _, (_, arrays), *_ = canvases(app)
        # a grid that has not grown is not sent again
        filled = np.isfinite(arrays["values"][:, 0]).sum() if "values" in arrays else seen[-1]
        seen.append(int(filled))
        assert len(arrays.get("values", np.zeros(270))) == 270
        assert "layers" in captions(app)
        app.run()
    assert done and seen == sorted(seen) and 0 < seen[0] < 270
    assert all(n % 9 == 0 for n in seen)
    (_, arrays) = canvases(app)[1]
    full = np.isfinite(arrays["values"][:, 0]).all() if "values" in arrays else seen[-1] == 270
    assert full
