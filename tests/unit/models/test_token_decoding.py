"""Ids without offsets become the text they stand for."""

from __future__ import annotations

import pytest

from attnviz.models.loaded_model import LoadedModel
from attnviz.models.text_encoding import encode
from attnviz.models.token_decoding import decode_tokens
from attnviz.models.tokens import Token
from tests.unit.models.texts import TEXTS, covered


@pytest.mark.parametrize("text", TEXTS)
def test_generated_ids_read_as_the_text_they_make(smollm: LoadedModel, text: str) -> None:
    ids = smollm.tokenizer(text)["input_ids"]
    tokens = decode_tokens(smollm.tokenizer, ids)
    assert [t.id for t in tokens] == ids
    assert [t.text for t in tokens] == [t.text for t in encode(smollm, text)[1]]
    assert all(t.start is None and t.end is None for t in tokens)


def test_generated_special_tokens_are_named(smollm: LoadedModel) -> None:
    end = smollm.tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokens = decode_tokens(smollm.tokenizer, [*smollm.tokenizer("日")["input_ids"], end])
    assert tokens[-1] == Token("<|im_end|>", end, None, None, special=True)
    assert tokens[0].text == "日"


def test_half_a_character_that_is_never_finished_is_shown_as_such(smollm: LoadedModel) -> None:
    first = smollm.tokenizer("日")["input_ids"][0]
    tokens = decode_tokens(smollm.tokenizer, [first] * 20)
    assert len(tokens) == 20
    assert all("\N{REPLACEMENT CHARACTER}" in t.text for t in tokens)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["smollm", "minilm"])
def test_decoded_ids_are_located_in_the_source(
    name: str, text: str, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(name)
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = decode_tokens(loaded.tokenizer, ids, source=text)
    assert all(t.text == text[t.start : t.end] for t in tokens if t.start is not None)
    if name == "minilm":
        text = text.replace(" \u0301", "  ")  # BERT drops an accent that stands on a space
    assert "".join(covered(tokens, text).split()) == "".join(text.split())
