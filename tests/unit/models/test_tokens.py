"""Tokens show what a person reads, and their spans give the text back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import (
    ByT5Tokenizer,
    CanineTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from attnviz.errors import AttnVizError
from attnviz.models.loaded_model import LoadedModel, wrap_module
from attnviz.models.loader import load
from attnviz.models.text_encoding import MAX_CHARACTERS, count, encode, longest_input
from attnviz.models.token_decoding import decode_tokens
from attnviz.models.tokens import Token, display_text, patches
from tests.tiny_models import TYPES, build

FACEPALM = "🤦🏽‍♀️"
FAMILY = "👨‍👩‍👧"
TEXTS = [
    "The quick brown fox jumps, unbelievably, over the lazy dog.",
    "日本語の文章です。中文也行。한국어도.",
    f"Emoji {FACEPALM} and {FAMILY}{FAMILY} 🇺🇦🎉 done",
    "שלום עולם مرحبا بالعالم",
    "cafe\u0301 nai\u0308ve Z\u0351\u036b\u0343\u036aalgo \u0301 lone",
    "नमस्ते दुनिया สวัสดี",
    "line one\r\n\tline  two\n\n<img src=x onerror=alert(1)> \u00a0 end ",
]


def covered(tokens: tuple[Token, ...], text: str) -> str:
    """The characters of `text` that lie within some token's span."""
    inside = set()
    for token in tokens:
        if token.start is not None and token.end is not None:
            inside.update(range(token.start, token.end))
    return "".join(text[i] for i in sorted(inside))


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


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (" the", " the"),
        ("\n", "↵"),
        ("  ", "␣␣"),
        ("", "∅"),
        ("\u200b", "U+200B"),
        ("a\u202eb\x07", "aU+202EbU+0007"),
        ("\u200d", "U+200D"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("می\u200cروم", "می\u200cروم"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
    ],
)
def test_nothing_in_a_token_is_hidden(text: str, seen: str) -> None:
    assert display_text(text) == seen


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
def test_decoded_ids_find_their_places_in_the_source(
    name: str, text: str, request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(name)
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = decode_tokens(loaded.tokenizer, ids, source=text)
    assert all(t.text == text[t.start : t.end] for t in tokens if t.start is not None)
    if name == "minilm":
        text = text.replace(" \u0301", "  ")  # BERT drops an accent that stands on a space
    assert "".join(covered(tokens, text).split()) == "".join(text.split())


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
def test_texts_that_are_none(smollm: LoadedModel, text: str) -> None:
    with pytest.raises(AttnVizError, match=r"text is empty|half of a character"):
        encode(smollm, text)


def test_a_text_of_nothing_but_spaces(minilm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="holds nothing that this model reads"):
        encode(minilm, "  \n ")


def test_a_text_too_long_names_both_numbers(minilm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="602 tokens long, and this model reads at most 512"):
        encode(minilm, "word " * 600)
    tensors, _ = encode(minilm, "word " * 510)
    assert minilm.module(**tensors).last_hidden_state.shape[1] == 512


def test_a_text_of_millions_of_characters_is_not_tokenised(smollm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="4,000,001 characters, and at most 4,000,000"):
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


def test_no_tokenizer_is_said(minilm: LoadedModel) -> None:
    with pytest.raises(AttnVizError, match="has no tokenizer"):
        encode(wrap_module(minilm.module), "text")


def test_patches_are_counted_by_row() -> None:
    tokens = patches((2, 3), special_prefix=["[CLS]"])
    assert [t.text for t in tokens] == (
        ["[CLS]", "patch 0,0", "patch 0,1", "patch 0,2", "patch 1,0", "patch 1,1", "patch 1,2"]
    )
    assert [t.special for t in tokens] == [True, *[False] * 6]
    assert [t.text for t in patches((1, 1), 2)] == ["[CLS]", "[extra 1]", "patch 0,0"]
    assert [t.text for t in patches((1, 1))] == ["patch 0,0"]


def test_a_tokenizer_that_panics_is_a_sentence() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_panicking())
    for call in (lambda: encode(tokenizer, "some words"), lambda: count(tokenizer, "some words")):
        with pytest.raises(AttnVizError, match=r"tokenizer failed: chunk size must be non-zero\."):
            call()


def test_a_folder_whose_tokenizer_panics_loads_without_it(gpt2_folder: Path) -> None:
    PreTrainedTokenizerFast(tokenizer_object=_panicking()).save_pretrained(gpt2_folder)
    loaded = load(str(gpt2_folder), device="cpu")
    assert loaded.tokenizer is None
    assert any("chunk size must be non-zero" in note for note in loaded.notes)


def test_a_pair_is_counted_as_the_model_reads_it(minilm: LoadedModel) -> None:
    text = "word " * 200
    tensors, _ = encode(minilm.tokenizer, text, text)
    assert count(minilm.tokenizer, text, text) == tensors["input_ids"].shape[1] == 403


def _panicking() -> Tokenizer:
    """A tokenizer whose Rust code gives up on every text."""
    sound = Tokenizer(models.WordLevel({"some": 0, "[UNK]": 1}, unk_token="[UNK]"))
    broken = json.loads(sound.to_str())
    broken["pre_tokenizer"] = {"type": "FixedLength", "length": 0}
    return Tokenizer.from_str(json.dumps(broken))


@pytest.mark.parametrize("most", ["many", None, [7], -1, 0, float("nan")])
def test_a_tokenizers_longest_input_that_is_no_number_is_passed_over(
    most: object, minilm: LoadedModel
) -> None:
    class Settings:
        model_max_length = most

    assert longest_input(minilm.module, Settings()) == longest_input(minilm.module)  # type: ignore[arg-type]
