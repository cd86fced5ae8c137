"""The catalog of models on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnviz.models import catalog


def test_both_packaged_models_are_in_the_catalog() -> None:
    entries = {entry.name: entry for entry in catalog.entries()}
    assert entries["smollm2-135m"].kind == "gguf"
    assert entries["smollm2-135m"].source.is_file()
    assert entries["minilm-l6"].kind == "folder"
    assert (entries["minilm-l6"].source / "config.json").is_file()


@pytest.mark.parametrize(
    "content",
    [b"", b"{not json", b"[1]", b"null", b"\xff\xfe", b'{"title": 7, "description": [1]}', None],
)
def test_a_damaged_entry_is_listed_by_its_folders_name(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNVIZ_MODELS", str(tmp_path))
    for name in ("damaged", "sound"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "entry.json").write_text('{"title": "Mine", "description": "Two."}')
    about = tmp_path / "damaged" / "entry.json"
    if content is None:
        about.unlink()
        about.symlink_to(about)
    else:
        about.write_bytes(content)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    found = {e.name: (e.title, e.description) for e in catalog.entries()}
    assert found["damaged"] == ("damaged", "")
    assert found["sound"] == ("Mine", "Two.")
    assert "loop" not in found
