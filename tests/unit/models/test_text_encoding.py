"""Tokens show substrings of the source, and their spans give the text back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    ByT5Tokenizer,
    CanineTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
)

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel, wrap_module
from attnviz.models.text_encoding import MAX_CHARACTERS, count, encode, longest_input
from tests.tiny_models import TYPES, build
from tests.unit.models.texts import FACEPALM, TEXTS, covered


@pytest.mark.parametrize("text", TEXTS)
def test_spans_of_a_byte_level_tokenizer_give_the_text_back(smollm: LoadedModel, text: str) -> None:
    tensors, tokens = encode(smollm, text)
    assert covered(tokens, text) == text
    assert tensors["input_ids"].tolist() == [[token.id for token in tokens]]
    for token in tokens:
        assert token.text == text[token.start : token.end]
        assert "\N{REPLACEMENT CHARACTER}" not in token.text
        assert "Ġ" not in token.text


@pytest.mark.parametrize("text", TEXTS)
def test_spans_of_wordpiece_give_every_letter_back(minilm: LoadedModel, text: str) -> None:
    _, tokens = encode(minilm, text)
    # BERT drops spaces, and an accent that stands on nothing but a space
    wanted = "".join(text.replace(" \u0301", "").split())
    assert "".join(covered(tokens, text).split()) == wanted
    inner = tokens[1:-1]
    assert all(token.text == text[token.start : token.end] for token in inner)
    assert not any("##" in token.text for token in tokens)


# SmolLM2's vocabulary lacks some bytes of control characters and of planes that Unicode has not
# filled; its tokenizer drops them.
KNOWN = st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"])


@settings(max_examples=60)
@given(text=st.text(KNOWN, min_size=1, max_size=30))
def test_any_text_comes_back(smollm: LoadedModel, text: str) -> None:
    _, tokens = encode(smollm, text)
    assert covered(tokens, text) == text


def test_parts_of_a_character_all_show_it_whole(smollm: LoadedModel) -> None:
    text = f"a 日{FACEPALM}e\u0301"
    _, tokens = encode(smollm, text)
    assert {token.text for token in tokens} == {"a", " 日", "日", FACEPALM, "e\u0301"}
    parts = [token for token in tokens if token.text == FACEPALM]
    assert len(parts) > 3
    assert len({(token.start, token.end) for token in parts}) == 1


def test_wordpiece_shows_the_word_as_it_is_written(minilm: LoadedModel) -> None:
    _, tokens = encode(minilm, "Unbelievability in Naïveté")
    assert [token.text for token in tokens] == (
        ["[CLS]", "Un", "bel", "ie", "va", "bility", "in", "Naïve", "té", "[SEP]"]
    )
    assert [token.special for token in tokens] == [True, *[False] * 8, True]
    assert (tokens[0].start, tokens[0].end) == (None, None)


def test_a_pair_has_spans_in_each_segment(minilm: LoadedModel) -> None:
    tensors, tokens = encode(minilm, "one two", "three")
    assert tensors["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]
    assert [t.text for t in tokens] == ["[CLS]", "one", "two", "[SEP]", "three", "[SEP]"]
    assert (tokens[4].start, tokens[4].end) == (0, 5)


def test_nothing_is_added_that_the_tokenizer_does_not_add(smollm: LoadedModel) -> None:
    tensors, tokens = encode(smollm, "Hello")
    assert len(tokens) == 1
    assert tensors["input_ids"].shape == (1, 1)
    assert set(tensors) == {"input_ids", "attention_mask"}


def test_a_special_token_that_is_typed_is_special(smollm: LoadedModel) -> None:
    _, tokens = encode(smollm, "a<|im_end|>b")
    assert [(t.text, t.special) for t in tokens] == (
        [("a", False), ("<|im_end|>", True), ("b", False)]
    )


def test_an_unknown_word_shows_what_was_written(minilm: LoadedModel) -> None:
    _, tokens = encode(minilm, f"so {FACEPALM} it is")
    unknown = [t for t in tokens if t.id == minilm.tokenizer.unk_token_id]
    assert [(t.text, t.special) for t in unknown] == [(FACEPALM, False)]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("make", [ByT5Tokenizer, CanineTokenizer])
def test_tokenizers_without_offsets(make: type, text: str) -> None:
    tokenizer = make()
    assert not tokenizer.is_fast
    tensors, tokens = encode(tokenizer, text)
    assert tensors["input_ids"].shape == (1, len(tokens))
    assert covered(tokens, text) == text
    assert tokens[-1].special


def test_a_pair_without_offsets() -> None:
    _, tokens = encode(ByT5Tokenizer(), "ab", "é")
    assert [(t.text, t.start, t.end) for t in tokens if not t.special] == (
        [("a", 0, 1), ("b", 1, 2), ("é", 0, 1), ("é", 0, 1)]
    )


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_texts_that_cannot_be_encoded(smollm: LoadedModel, text: str) -> None:
    with pytest.raises(AttnVizError, match=r"text is empty|half of a character"):
        encode(smollm, text)


def test_a_text_of_nothing_but_spaces(minilm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="contains nothing this model can read"):
        encode(minilm, "  \n ")


def test_a_text_too_long_names_both_numbers(minilm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="602 tokens long, and this model's maximum is 512"):
        encode(minilm, "word " * 600)
    tensors, _ = encode(minilm, "word " * 510)
    assert minilm.module(**tensors).last_hidden_state.shape[1] == 512


def test_a_text_of_millions_of_characters_is_not_tokenized(smollm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="4,000,001 characters; the limit is 4,000,000"):
        encode(smollm, "x" * (MAX_CHARACTERS + 1))


def test_positions_kept_for_padding_hold_no_tokens() -> None:
    config = RobertaConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        vocab_size=9,
        max_position_embeddings=18,
        pad_token_id=1,
    )
    model = RobertaForMaskedLM(config).eval()
    most = longest_input(wrap_module(model).module)
    assert most == 16
    model(torch.full((1, most), 3))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, most + 1), 3))


@pytest.mark.parametrize(
    "name",
    [
        "led/LEDForConditionalGeneration",
        "mpt/MptForCausalLM",
        "whisper/WhisperForCausalLM",
        "luke/LukeForMaskedLM",
        "mpnet/MPNetForMaskedLM",
    ],
)
def test_the_longest_input_runs_and_the_next_does_not(name: str) -> None:
    module, given = build(next(t for t in TYPES if t.name == name))
    most = longest_input(module)
    assert most is not None
    read = {k: v[:1] for k, v in given.items() if k not in ("input_ids", "attention_mask")}
    with torch.no_grad():
        module(input_ids=torch.full((1, most), 7), **read)
        with pytest.raises((IndexError, RuntimeError)):
            module(input_ids=torch.full((1, most + 1), 7), **read)


def test_a_model_without_tokenizer_is_an_error_message(minilm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="has no tokenizer"):
        encode(wrap_module(minilm.module), "text")


def test_a_pair_is_counted_as_the_model_reads_it(minilm: LoadedModel) -> None:
    text = "word " * 200
    tensors, _ = encode(minilm.tokenizer, text, text)
    assert count(minilm.tokenizer, text, text) == tensors["input_ids"].shape[1] == 403


@pytest.mark.parametrize("most", ["many", None, [7], -1, 0, float("nan")])
def test_a_tokenizers_longest_input_that_is_no_number_is_passed_over(
    most: object, minilm: LoadedModel
) -> None:
    class Settings:
        model_max_length = most

    assert longest_input(minilm.module, Settings()) == longest_input(minilm.module)  # type: ignore[arg-type]
