"""Metrics of a prediction: against numbers made from transformers' own logits."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import attnviz
from attnviz import AttnVizError
from attnviz.edits import AblateHead
from attnviz.trace.model import Model

TEXT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def model() -> Model:
    return attnviz.load("smollm2-135m", device="cpu")


def own_logits(model: Model, text: str, position: int = -1) -> torch.Tensor:
    """The model's own, without a recording."""
    with torch.no_grad():
        logits: torch.Tensor = model.module(**model.tokenizer(text, return_tensors="pt")).logits
    return logits[0, position].double()


def test_each_metric_is_made_of_the_models_own_logits(model: Model) -> None:
    logits = own_logits(model, TEXT)
    (mary,), (john,) = (model.tokenizer(name).input_ids for name in (" Mary", " John"))
    log_p = torch.log_softmax(logits, -1)
    close = pytest.approx
    difference = attnviz.logit_difference(" Mary", " John")
    assert model.measure(TEXT, difference) == close(float(logits[mary] - logits[john]), abs=1e-4)
    assert model.measure(TEXT, attnviz.log_probability(mary)) == close(float(log_p[mary]), abs=1e-5)
    assert model.measure(TEXT, attnviz.probability(" Mary")) == close(float(log_p[mary].exp()))
    expected = 1 + int((logits > logits[john]).sum())
    assert model.measure(TEXT, attnviz.rank(" John")) == expected
    assert model.measure(TEXT, attnviz.rank(" Mary")) == 1
    assert model.measure(TEXT, attnviz.kl()) == 0


def test_the_foil_is_the_runner_up_of_the_model_without_edits(model: Model) -> None:
    """An edit may bring another token forward; the question stays the same."""
    logits = own_logits(model, TEXT)
    mary = model.tokenizer(" Mary").input_ids[0]
    runner_up = int(logits.topk(2).indices[1])
    edits = [AblateHead(layer, head) for layer in range(16, 28) for head in range(9)]
    asked = attnviz.logit_difference(" Mary")
    assert model.measure(TEXT, asked) == pytest.approx(
        float(logits[mary] - logits[runner_up]), abs=1e-4
    )
    edited = model.trace(TEXT, edits=edits).logits_at().double()
    assert int(edited.argmax()) != mary  # it is another model now
    assert model.measure(TEXT, asked, edits=edits) == pytest.approx(
        float(edited[mary] - edited[runner_up]), abs=1e-4
    )


def test_kl_is_from_before_to_after(model: Model) -> None:
    edits = [AblateHead(23, 0)]
    before = torch.log_softmax(own_logits(model, TEXT), -1)
    after = torch.log_softmax(model.trace(TEXT, edits=edits).logits_at().double(), -1)
    expected = float((before.exp() * (before - after)).sum())
    assert expected > 0.01
    assert model.measure(TEXT, attnviz.kl(), edits=edits) == pytest.approx(expected, rel=1e-3)


def test_a_position_inside_the_text(model: Model) -> None:
    logits = own_logits(model, TEXT, position=4)
    to = model.tokenizer(" to").input_ids[0]
    assert model.measure(TEXT, attnviz.probability(" to", position=4)) == pytest.approx(
        float(torch.softmax(logits, -1)[to]), rel=1e-4
    )


def test_answers_that_are_no_single_choice_are_refused_with_their_tokens(model: Model) -> None:
    with pytest.raises(AttnVizError, match=r"one token.*is \d: ' Wil', 'hel'") as refused:
        model.measure(TEXT, attnviz.probability(" Wilhelmina"))
    assert "space" in str(refused.value)
    with pytest.raises(AttnVizError, match="the same"):
        model.measure(TEXT, attnviz.logit_difference(" Mary", " Mary"))
    with pytest.raises(AttnVizError, match="no choice"):
        model.measure(TEXT, attnviz.rank(10**9))
    with pytest.raises(AttnVizError, match="is 0"):
        model.measure(TEXT, attnviz.rank(""))


def test_masked_language_models_classifiers_and_decoders_with_a_source() -> None:
    bert = attnviz.load("minilm-l6", device="cpu")
    with pytest.raises(AttnVizError, match="predicts no tokens"):
        bert.measure("A [MASK].", attnviz.kl())
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, id2label={0: "bad", 1: "good"},
    )  # fmt: skip
    torch.manual_seed(0)
    classifier = BertForSequenceClassification(config).eval()
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8]])}
    with torch.no_grad():
        logits = classifier(**inputs).logits[0].double()
    measured = attnviz.wrap(classifier).measure(
        None, attnviz.logit_difference("good", "bad"), inputs=inputs
    )
    assert measured == pytest.approx(float(logits[1] - logits[0]), abs=1e-6)
    with pytest.raises(AttnVizError, match="bad, good"):
        attnviz.wrap(classifier).measure(None, attnviz.rank("great"), inputs=inputs)
    dates = attnviz.load("tiny-dates", device="cpu")
    assert dates.measure("5 March 2024", attnviz.rank("2"), target="") == 1
