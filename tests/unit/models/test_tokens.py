"""A token as it is shown."""

from __future__ import annotations

import pytest

from attnviz.models.tokens import display_text, patches


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


def test_patches_are_counted_by_row() -> None:
    tokens = patches((2, 3), special_prefix=["[CLS]"])
    assert [t.text for t in tokens] == (
        ["[CLS]", "patch 0,0", "patch 0,1", "patch 0,2", "patch 1,0", "patch 1,1", "patch 1,2"]
    )
    assert [t.special for t in tokens] == [True, *[False] * 6]
    assert [t.text for t in patches((1, 1), 2)] == ["[CLS]", "[extra 1]", "patch 0,0"]
    assert [t.text for t in patches((1, 1))] == ["patch 0,0"]
