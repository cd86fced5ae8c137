"""Reads training data from text, CSV and JSONL files; errors name the line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnviz.errors import AttnVizError

MAX_BYTES = 512 * 2**20
SUFFIXES = (".txt", ".jsonl", ".csv")


@dataclass(frozen=True)
class Row:
    """One example.

    Attributes:
        line: of the file, from 1, where the example starts.
        values: by column.
    """

    line: int
    values: dict[str, str]


def read_rows(path: Path, columns: Sequence[str]) -> tuple[Row, ...]:
    """The rows of a .csv or .jsonl file, or a .txt file as one row of the first column.

    Args:
        columns: that every row must have.

    Raises:
        AttnVizError: the file cannot be read, or a line of it is invalid.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AttnVizError(
                f"{path.name} has {path.stat().st_size / 2**20:,.0f} MB, and at most "
                f"{MAX_BYTES // 2**20} are read.",
                "Use a part of it.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise AttnVizError(f"{path.name} cannot be read ({error.strerror}).") from error
    return parse_rows(path.name, data, columns)


def parse_rows(name: str, data: bytes, columns: Sequence[str]) -> tuple[Row, ...]:
    """The rows in a file's bytes, as `read_rows`; the name's suffix is the format."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise AttnVizError(
            f"{name} is neither {', '.join(SUFFIXES[:-1])} nor {SUFFIXES[-1]}.",
            "Save the data as one of these.",
        )
    text = _decode(name, data)
    if suffix == ".txt":
        if len(columns) > 1:
            raise AttnVizError(
                f"A text file has no columns, and this needs {' and '.join(columns)}.",
                "Use a .csv or .jsonl file.",
            )
        rows: tuple[Row, ...] = (Row(1, {columns[0]: text}),)
    elif suffix == ".csv":
        rows = tuple(_csv_rows(name, text, columns))
    else:
        rows = tuple(_jsonl_rows(name, text, columns))
    if not rows:
        raise AttnVizError(f"{name} has no rows.", "Add some examples.")
    return rows


def _decode(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise AttnVizError(
            f"Line {line} of {name} is not UTF-8 (byte 0x{data[error.start]:02x}).",
            "Save the file with the encoding UTF-8.",
        ) from None
    if not text.strip():
        raise AttnVizError(f"{name} is empty.", "Add some examples.")
    return text


def _csv_rows(name: str, text: str, columns: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader)]
        for column in columns:
            if column not in header:
                raise AttnVizError(
                    f"Line 1 of {name} names no column '{column}'; it has {', '.join(header)}.",
                    "Rename a column, or say which one to read.",
                )
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(header):
                    raise AttnVizError(
                        f"Line {line} of {name} has {len(cells)} columns instead of {len(header)}.",
                        "Put text that holds commas or line breaks in double quotes.",
                    )
                values = dict(zip(header, cells, strict=True))
                yield _require_values(name, Row(line, {c: values[c] for c in columns}))
            line = reader.line_num + 1
    except csv.Error as error:
        raise AttnVizError(
            f"Line {reader.line_num} of {name} is not sound CSV: {error}.",
            "Check the quotes there.",
        ) from error


def _jsonl_rows(name: str, text: str, columns: Sequence[str]) -> Iterator[Row]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            raise AttnVizError(
                f"Line {line} of {name} is not JSON: {problem}.",
                'Each line is one object, such as {"text": "..."}.',
            ) from None
        if not isinstance(value, dict):
            raise AttnVizError(
                f"Line {line} of {name} is no JSON object.",
                'Each line is one object, such as {"text": "..."}.',
            )
        for column in columns:
            if not isinstance(value.get(column), (str, int, float)):
                have = ", ".join(map(str, value)) or "nothing"
                raise AttnVizError(
                    f"Line {line} of {name} has no text '{column}'; it has {have}.",
                    "Add it, or say which entry to read.",
                )
        yield _require_values(name, Row(line, {c: str(value[c]) for c in columns}))


def _require_values(name: str, row: Row) -> Row:
    """The row, unless one of its values is empty."""
    for column, value in row.values.items():
        if not value.strip():
            raise AttnVizError(
                f"Line {row.line} of {name} has an empty '{column}'.", "Fill it in or remove it."
            )
    return row
