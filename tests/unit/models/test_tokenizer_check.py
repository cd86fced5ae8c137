"""Hostile tokenizers: some crash the process that opens them, others never finish."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from attnviz.errors import AttnVizError
from attnviz.models import catalog, tokenizer_check
from attnviz.models.loader import load


def tokenizer_json(**changes: Any) -> str:
    sound = Tokenizer(models.WordLevel({"a": 0, "attention": 1, "[UNK]": 2}, unk_token="[UNK]"))
    return json.dumps(json.loads(sound.to_str()) | changes)


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def charsmap(*, table: int, content: bytes) -> dict[str, str]:
    raw = table.to_bytes(4, "little") + content
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(raw).decode()}


def template(times: int, n: int) -> dict[str, Any]:
    """The same special token, many times, of many ids."""
    special = {"id": "X", "ids": [1] * n, "tokens": ["x"] * n}
    single = [{"SpecialToken": {"id": "X", "type_id": 0}}] * times
    single += [{"Sequence": {"id": "A", "type_id": 0}}]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [],
        "special_tokens": {"X": special},
    }


def added(content: str, n: int) -> list[dict[str, Any]]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return [{"id": 5 + i, "content": f"{content}{i}", **flags} for i in range(n)]


LAUGHS = {
    "type": "Sequence",
    "normalizers": [replace({"String": "a"}, "a" * 100)] * 8,
}
HOSTILE = {
    "a word cut into pieces of nothing": (
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        "chunk size must be non-zero",
    ),
    "a letter that becomes petabytes": ({"normalizer": LAUGHS}, "make a text far longer"),
    "a table longer than memory": (
        {"normalizer": charsmap(table=2**31 - 1, content=bytes(200))},
        "could not be read",
    ),
    "a table of noise": (
        {"normalizer": charsmap(table=256, content=b"\xff" * 256 + b"abc")},
        "out of bounds",
    ),
    "a pattern that goes back and back": (
        {"normalizer": replace({"Regex": "(x+x+)+y"}, "z")},
        "retry-limit-in-match over",
    ),
    "many tokens around each text": (
        {"post_processor": template(1, 100_000)},
        "it makes 100,001 tokens of 9 characters",
    ),
    "more tokens than memory": ({"post_processor": template(2_000, 50_000)}, "could not be read"),
    "long added tokens": ({"added_tokens": added("x" * 100_000, 3)}, "added tokens have 300,003"),
    "no JSON": (None, "could not be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tokenizer_is_an_error_message_and_no_crash(case: str, tmp_path: Path) -> None:
    changes, said = HOSTILE[case]
    content = "{" if changes is None else tokenizer_json(**changes)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(AttnVizError, match=said) as caught:
        tokenizer_check.check(tmp_path)
    assert str(caught.value).startswith("tokenizer.json could not be read: ")
    assert "\n" not in str(caught.value)


def test_settings_that_add_too_much(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(tokenizer_json())
    tokenizer_check.check(tmp_path)
    tokens = {str(i): {"content": "y" * 1000} for i in range(1_000)}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": tokens}))
    with pytest.raises(AttnVizError, match=r"tokenizer_config\.json names tokens of 1,000,000"):
        tokenizer_check.check(tmp_path)


def test_the_installed_ones_are_sound() -> None:
    for entry in catalog.entries():
        if entry.kind == "folder":
            tokenizer_check.check(entry.source)


def test_the_model_is_still_loaded(gpt2_folder: Path) -> None:
    changes, said = HOSTILE["a letter that becomes petabytes"]
    assert changes is not None
    hostile = Tokenizer.from_str(tokenizer_json(**changes))
    PreTrainedTokenizerFast(tokenizer_object=hostile).save_pretrained(gpt2_folder)
    loaded = load(str(gpt2_folder), device="cpu")
    assert loaded.tokenizer is None
    assert any(said in note for note in loaded.notes)
