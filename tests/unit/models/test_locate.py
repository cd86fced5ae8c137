"""Names that are no model."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnviz.errors import AttnVizError
from attnviz.models.loader import load


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "No model name given"),
        ("/no/such/folder", "no file or folder"),
        ("./no/such/file.gguf", "no file or folder"),
        ("C:\\models\\none", "no file or folder"),
        ("~nobody-of-that-name/model", "cannot be opened|no file or folder"),
        ("//server/share/model", "not a path"),
        ("a\0b", "not a path"),
        ("x" * 5000, "cannot be opened|form of a Hugging Face id"),
    ],
)
def test_names_without_a_model(name: str, said: str) -> None:
    with pytest.raises(AttnVizError, match=said):
        load(name, device="cpu")


def test_a_file_that_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(AttnVizError, match=r"notes\.txt is not a \.gguf file"):
        load(str(tmp_path / "notes.txt"), device="cpu")
