"""The heads that say most about a text: chosen by their metrics and by what ablating them does."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import attnviz
from attnviz.analysis.telling_heads import TellingHead, telling_heads
from attnviz.edits import AblateHead
from attnviz.trace import Model

TEXT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    yield attnviz.load("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def heads(model: Model) -> tuple[TellingHead, ...]:
    return telling_heads(model, model.trace(TEXT), TEXT)


def test_each_role_once_in_the_order_of_layers(heads: tuple[TellingHead, ...]) -> None:
    roles = [head.role for head in heads]
    assert len(set(roles)) == len(roles)
    assert [(h.layer, h.head) for h in heads] == sorted((h.layer, h.head) for h in heads)
    assert {"previous-token head", "attention sink", "name mover"} <= set(roles)


@pytest.mark.parametrize(("role", "sign"), [("name mover", -1), ("negative name mover", 1)])
def test_a_mover_changes_the_answer_as_it_says(
    model: Model, heads: tuple[TellingHead, ...], role: str, sign: int
) -> None:
    (head,) = (one for one in heads if one.role == role)
    (before,) = model.trace(TEXT).predictions(k=1)
    without = model.trace(TEXT, edits=[AblateHead(head.layer, head.head)])
    after = {one.id: one.probability for one in without.predictions(k=50)}[before.id]
    assert (after - before.probability) * sign > 0.01
    told = [int(number) for number in re.findall(r"(\d+)%", head.sentence)]
    assert told == [round(100 * before.probability), round(100 * after)]


def test_where_the_answer_is_not_in_the_text_nothing_moves_it(model: Model) -> None:
    text = "The capital of France is"
    found = telling_heads(model, model.trace(text), text)
    assert not [head for head in found if "mover" in head.role]


def test_an_encoder_has_heads_with_roles_and_no_movers() -> None:
    model = attnviz.load("minilm-l6", device="cpu")
    found = telling_heads(model, model.trace("The cat sat on the mat"), "The cat sat on the mat")
    assert found
    assert not [head for head in found if "mover" in head.role]
