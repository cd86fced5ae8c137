"""The sample data: each is valid for its objective, and in the model's own vocabulary."""

from __future__ import annotations

import pytest

import attnviz
from attnviz.train.finetune.data_files import parse_rows
from attnviz.train.finetune.dataset import check
from attnviz.train.finetune.samples import sample
from attnviz.train.settings import FinetuneWork, Objective
from attnviz.train.tasks.dates import reformat


@pytest.mark.parametrize("objective", ["causal", "masked", "classify", "seq2seq"])
def test_a_sample_is_valid_for_its_objective(objective: Objective) -> None:
    found = sample(objective, None)
    work = FinetuneWork("any", found.name, objective)
    assert check(work, found.data) >= 1


def test_the_dates_are_right() -> None:
    found = sample("seq2seq", None)
    rows = parse_rows(found.name, found.data, ("source", "target"))
    assert len(rows) >= 20
    for row in rows:
        assert reformat(row.values["source"]) == row.values["target"]


def test_both_ratings_are_as_frequent() -> None:
    found = sample("classify", None)
    labels = [row.values["label"] for row in parse_rows(found.name, found.data, ("text", "label"))]
    assert labels.count("good") == labels.count("bad") == len(labels) / 2


@pytest.mark.parametrize("name", ["tiny-induction", "tiny-dates"])
def test_a_model_of_few_letters_gets_a_text_that_it_can_read(name: str) -> None:
    tokenizer = attnviz.load(name).tokenizer
    objective: Objective = "causal" if name == "tiny-induction" else "seq2seq"
    found = sample(objective, tokenizer)
    if objective == "causal":
        texts = [found.data.decode()]
    else:
        rows = parse_rows(found.name, found.data, ("source", "target"))
        texts = [text for row in rows for text in row.values.values()]
    for text in texts:
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
