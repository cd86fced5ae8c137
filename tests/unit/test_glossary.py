"""The glossary's table: complete in both languages, in the docs as it is, and used on screen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from attnviz.glossary import TERMS, term, with_table

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "glossary.md"


def test_the_document_has_the_table() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text, "run python -m attnviz.glossary docs/glossary.md"


@pytest.mark.parametrize("name", TERMS)
def test_a_term_is_a_sentence_in_both_languages(name: str) -> None:
    found = TERMS[name]
    assert found.name == name
    assert found.meaning.endswith(".") and found.meaning.isprintable()
    assert found.meaning_zh.endswith("。")
    for text in (found.name_zh, found.meaning_zh):
        assert any("\u4e00" <= character <= "\u9fff" for character in text)
    assert "|" not in "".join(found)  # it would end a cell of the table


def test_the_terms_of_attention_are_there() -> None:
    asked = "query key value head layer score weight residual sink induction entropy"
    assert set(asked.split()) <= set(TERMS)
    assert term("key", "More.") == f"{TERMS['key'].meaning} More."


def test_screens_explain_terms_from_this_table() -> None:
    """Each call of ``term`` in the app names an entry, and most entries have a tooltip."""
    used = {
        call.args[0].value
        for path in (ROOT / "attnviz").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "term"
        and isinstance(call.args[0], ast.Constant)
    }
    assert used <= set(TERMS)
    assert {"query", "key", "head", "layer", "mask", "residual", "sink", "softcap"} <= used
