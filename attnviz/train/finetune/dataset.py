"""The person's rows: which columns an objective reads, and which are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnviz.errors import AttnVizError
from attnviz.train.finetune.data_files import Row, parse_rows, read_rows
from attnviz.train.settings import FinetuneWork
from attnviz.train.training_setup import Batch, GetBatch, LabelAlignment, ProbeExample

MAX_HELD_OUT = 256  # examples; evaluating must not take longer than the training around it
EVALUATION_BATCH = 8


@dataclass(frozen=True)
class FinetuneData:
    """Tokenized data; the attributes are those of `TrainingSetup`."""

    get_batch: GetBatch
    held_out: tuple[Batch, ...]
    probe: ProbeExample
    label_alignment: LabelAlignment


def columns_of(work: FinetuneWork) -> tuple[str, ...]:
    """The columns that an objective reads."""
    return {
        "causal": (work.text_column,),
        "masked": (work.text_column,),
        "classify": (work.text_column, work.label_column),
        "seq2seq": (work.source_column, work.target_column),
    }[work.objective]


def read(work: FinetuneWork, folder: Path) -> tuple[Row, ...]:
    """The rows of the data file; a relative path starts at the job's folder.

    Raises:
        AttnVizError: the file is invalid; the message names the line.
    """
    return read_rows(folder / Path(work.data).expanduser(), columns_of(work))


def check(work: FinetuneWork, data: bytes) -> int:
    """Checks an uploaded file as the job would read it; its number of rows.

    Raises:
        AttnVizError: the file is invalid; the message names the line.
    """
    rows = parse_rows(Path(work.data).name, data, columns_of(work))
    if work.objective == "classify":
        class_labels(rows, work)
    return len(rows)


def class_labels(rows: Sequence[Row], work: FinetuneWork) -> tuple[str, ...]:
    """The distinct labels, sorted.

    Raises:
        AttnVizError: there is only one.
    """
    labels = sorted({row.values[work.label_column].strip() for row in rows})
    if len(labels) < 2:
        raise AttnVizError(
            f"All {len(rows)} rows, from line {rows[0].line} on, have the label '{labels[0]}'.",
            "Classification needs at least two labels.",
        )
    return tuple(labels)


def n_held_out(n: int, share: float) -> int:
    """How many of n examples are held out: at least one, but never all, unless the share is 0."""
    return min(n - 1, max(1, round(n * share))) if share > 0 else 0
