"""Dates from one format to the other with an encoder-decoder: 5 March 2024 to 2024-03-05."""

from __future__ import annotations

import datetime
import string
from typing import Any

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.held_out import held_out_batches, sample_split
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.tasks.transformer import SMALL_TRANSFORMER
from attnviz.train.tasks.vocabulary import END, PAD, SPECIAL_TOKENS, character_tokenizer
from attnviz.train.training_setup import Batch, ProbeExample, generated_batches

PAD_ID, END_ID = SPECIAL_TOKENS.index(PAD), SPECIAL_TOKENS.index(END)
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


CHARACTERS = sorted({*string.digits, " ", "-", *"".join(MONTHS)})
_ID_OF = {c: len(SPECIAL_TOKENS) + i for i, c in enumerate(CHARACTERS)}


def spelled_out(day: datetime.date) -> str:
    """5 March 2024."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def reformat(text: str) -> str:
    """5 March 2024 for 2024-03-05, and the reverse.

    Raises:
        AttnVizError: the text is not a date in either format.
    """
    try:
        if text.count(" ") != 2:
            return spelled_out(datetime.date.fromisoformat(text))
        day, month, year = text.split(" ")
        return datetime.date(int(year), MONTHS.index(month) + 1, int(day)).isoformat()
    except ValueError:
        raise AttnVizError(
            f"'{text[:80]}' is not a date.", "Write it as 5 March 2024 or as 2024-03-05."
        ) from None


def _make_data(
    options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
) -> TaskData:
    first_year, last_year = options["first_year"], options["last_year"]
    if not 1000 <= first_year <= last_year <= 9999:
        raise AttnVizError(
            f"The years {first_year} to {last_year} cannot be.", "Choose 1000 to 9999, in order."
        )
    first = datetime.date(first_year, 1, 1).toordinal()
    last = datetime.date(last_year, 12, 31).toordinal()

    def sample(generator: torch.Generator, n: int) -> Tensor:
        return torch.randint(first, last + 1, (n, 1), generator=generator)

    def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
        return _batch(sample_split(sample, generator, n, held_out)[:, 0].tolist())

    day = datetime.date(2024, 3, 5)
    return TaskData(
        character_tokenizer(CHARACTERS, append_end=True),
        generated_batches(make, schedule.seed),
        held_out_batches(lambda g, n: make(g, n, True)),
        ProbeExample(spelled_out(day), day.isoformat()),
        label_alignment="same",
        make_probe=lambda text: ProbeExample(text, reformat(text)),
    )


def _batch(ordinals: list[int]) -> Batch:
    """Days by their ordinals as sources and targets, in turns from one format and the other."""
    pairs = []
    for i, ordinal in enumerate(ordinals):
        day = datetime.date.fromordinal(ordinal)
        pair = (spelled_out(day), day.isoformat())
        pairs.append(pair if i % 2 == 0 else pair[::-1])
    source, target = _encode([p[0] for p in pairs]), _encode([p[1] for p in pairs])
    return {
        "input_ids": source,
        "attention_mask": (source != PAD_ID).long(),
        "labels": target.masked_fill(target == PAD_ID, IGNORE_INDEX),
    }


def _encode(texts: list[str]) -> Tensor:
    """(n, longest + 1) ids, with an end token, padded on the right."""
    ids = torch.full((len(texts), max(map(len, texts)) + 1), PAD_ID)
    for i, text in enumerate(texts):
        row = [*(_ID_OF[c] for c in text), END_ID]
        ids[i, : len(row)] = torch.tensor(row)
    return ids


DATES = Task(
    name="dates",
    title="Date formats",
    description="Converts dates between formats: 5 March 2024 to 2024-03-05, and back.",
    goal=0.99,
    measure="exact",
    options={"first_year": 1900, "last_year": 2099},
    model={
        **SMALL_TRANSFORMER,
        "architecture": "encoder-decoder",
        "positions": "learned",
        "max_positions": 64,
    },
    schedule=Schedule(steps=800, batch_size=64, learning_rate=2e-3),
    make_data=_make_data,
)
