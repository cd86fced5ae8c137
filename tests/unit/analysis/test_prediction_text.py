"""The words around predictions name the position that the numbers are of."""

from __future__ import annotations

import pytest

import attnviz
from attnviz.analysis import prediction_text
from attnviz.trace.model import Model
from tests.unit.trace.towers import pixels, tiny

CAPITAL = "The capital of France is"


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


def test_the_next_token_is_predicted_after_the_last_or_the_focused_one(model: Model) -> None:
    trace = model.trace(CAPITAL, keep=("qkv", "logits"))
    assert prediction_text.missing(trace, model.tokenizer, None) is None
    assert prediction_text.heading(trace, model.tokenizer, None) == "Next token after 4 “ is”"
    assert prediction_text.heading(trace, model.tokenizer, 0) == "Next token after 0 “The”"


def test_without_all_logits_only_the_last_position_has_a_prediction(model: Model) -> None:
    trace = model.trace(CAPITAL)
    last = len(trace.tokens) - 1
    assert prediction_text.missing(trace, model.tokenizer, last) is None
    missing = prediction_text.missing(trace, model.tokenizer, 0)
    assert missing is not None
    assert "only the last position" in missing


def test_a_classifier_predicts_the_class_of_the_whole() -> None:
    module = tiny("vit/ViTForImageClassification")[0]
    trace = attnviz.wrap(module).trace(inputs={"pixel_values": pixels(1, 3, 32, 32)})
    assert prediction_text.missing(trace, None, None) is None
    assert prediction_text.heading(trace, None, None) == "The class of the whole image"
