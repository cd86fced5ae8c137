"""A tokenizer whose Rust code panics is an error message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import (
    PreTrainedTokenizerFast,
)

from attnviz.errors import AttnVizError
from attnviz.models.loader import load
from attnviz.models.text_encoding import count, encode


def test_a_tokenizer_that_panics_is_an_error_message() -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_panicking())
    for call in (lambda: encode(tokenizer, "some words"), lambda: count(tokenizer, "some words")):
        with pytest.raises(AttnVizError, match=r"tokenizer failed: chunk size must be non-zero\."):
            call()


def test_a_folder_whose_tokenizer_panics_loads_without_it(gpt2_folder: Path) -> None:
    PreTrainedTokenizerFast(tokenizer_object=_panicking()).save_pretrained(gpt2_folder)
    loaded = load(str(gpt2_folder), device="cpu")
    assert loaded.tokenizer is None
    assert any("chunk size must be non-zero" in note for note in loaded.notes)


def _panicking() -> Tokenizer:
    """A tokenizer whose Rust code gives up on every text."""
    sound = Tokenizer(models.WordLevel({"some": 0, "[UNK]": 1}, unk_token="[UNK]"))
    broken = json.loads(sound.to_str())
    broken["pre_tokenizer"] = {"type": "FixedLength", "length": 0}
    return Tokenizer.from_str(json.dumps(broken))
