from __future__ import annotations

from pathlib import Path

import pytest

from attnviz.errors import AttnVizError
from attnviz.train.finetune.data_files import read_rows
from attnviz.train.finetune.dataset import class_labels
from attnviz.train.settings import FinetuneWork

TWO = ("text", "label")


def read(tmp_path: Path, name: str, data: bytes, columns: tuple[str, ...] = TWO) -> object:
    path = tmp_path / name
    path.write_bytes(data)
    return read_rows(path, columns)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"text,label\ngood,1\ncaf\xe9,0\n", "Line 3 of a.csv is not UTF-8 .byte 0xe9"),
        ("a.csv", b"text,class\ngood,1\n", "Line 1 of a.csv names no column 'label'"),
        ("a.csv", b"text,label\ngood,1\nbad\n", "Line 3 of a.csv has 1 columns instead of 2"),
        ("a.csv", b'text,label\n"a\nb",1\nx,y,z\n', "Line 4 of a.csv has 3 columns"),
        ("a.csv", b"text,label\ngood,1\n,0\n", "Line 3 of a.csv has an empty 'text'"),
        ("a.csv", b'text,label\ngood,1\n"open,0\n', "not sound CSV"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xef\xbb\xbf  \n", "is empty"),
        ("a.csv", b"text,label\n", "has no rows"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{"text": \n', "Line 2 of a.jsonl is not JSON"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n\n{"text": "b"}\n', "Line 3 .* no text 'label'"),
        ("a.jsonl", b'["a"]\n', "Line 1 of a.jsonl is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "Line 1 of a.jsonl is not JSON"),
        ("a.txt", b"hello", "has no columns"),
        ("a.pdf", b"hello", "neither"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    with pytest.raises(AttnVizError, match=words):
        read(tmp_path, name, data)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AttnVizError, match=r"none\.csv cannot be read"):
        read_rows(tmp_path / "none.csv", TWO)


def test_one_class_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,yes\nb,yes\n")
    work = FinetuneWork("m", "a.csv", objective="classify")
    with pytest.raises(AttnVizError, match="All 2 rows, from line 2 on, have the label 'yes'"):
        class_labels(read_rows(path, TWO), work)


def test_rows_with_breaks_quotes_and_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffid,label,text\n1,x,"two\nlines, ""quoted"""\n\n2,y,日本\n'.encode())
    rows = read_rows(path, TWO)
    assert [(row.line, row.values) for row in rows] == [
        (2, {"text": 'two\nlines, "quoted"', "label": "x"}),
        (5, {"text": "日本", "label": "y"}),
    ]


def test_a_text_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n")
    assert read_rows(path, ("text",))[0].values == {"text": "one\ntwo\n"}
