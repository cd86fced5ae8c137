"""Dates from one way of writing to the other, by an encoder-decoder: 5 March 2024, 2024-03-05."""

from __future__ import annotations

import datetime
import string
from typing import Any

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import SMALL, Task, TaskData, held_out_batches, sample_split
from attnviz.train.tasks.vocabulary import END, PAD, SPECIAL, character_tokenizer
from attnviz.train.training_setup import Batch, ProbeExample, endless

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def in_words(day: datetime.date) -> str:
    """5 March 2024."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def other_way(words: str) -> str:
    """5 March 2024 for 2024-03-05, and back.

    Raises:
        AttnVizError: it is no date in either way.
    """
    try:
        if words.count(" ") != 2:
            return in_words(datetime.date.fromisoformat(words))
        day, month, year = words.split(" ")
        return datetime.date(int(year), MONTHS.index(month) + 1, int(day)).isoformat()
    except ValueError:
        raise AttnVizError(
            f"'{words[:80]}' is no date.", "Write it as 5 March 2024 or as 2024-03-05."
        ) from None


def _lesson(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
    first_year, last_year = options["first_year"], options["last_year"]
    if not 1000 <= first_year <= last_year <= 9999:
        raise AttnVizError(
            f"The years {first_year} to {last_year} cannot be.", "Choose 1000 to 9999, in order."
        )
    characters = sorted({*string.digits, " ", "-", *"".join(MONTHS)})
    tokenizer = character_tokenizer(characters, close=True)
    numbers = {name: len(SPECIAL) + i for i, name in enumerate(characters)}
    begin = datetime.date(first_year, 1, 1).toordinal()
    end = datetime.date(last_year, 12, 31).toordinal()

    def sample(generator: torch.Generator, n: int) -> Tensor:
        return torch.randint(begin, end + 1, (n, 1), generator=generator)

    def encode(words: list[str]) -> Tensor:
        """(n, longest) ids, each text closed and then filled up."""
        longest = max(map(len, words)) + 1
        ids = torch.full((len(words), longest), SPECIAL.index(PAD))
        for i, word in enumerate(words):
            row = [*(numbers[c] for c in word), SPECIAL.index(END)]
            ids[i, : len(row)] = torch.tensor(row)
        return ids

    def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
        days = sample_split(sample, generator, n, held_out)[:, 0].tolist()
        pairs = []
        for i, ordinal in enumerate(days):
            day = datetime.date.fromordinal(ordinal)
            pair = (in_words(day), day.isoformat())
            pairs.append(pair if i % 2 == 0 else pair[::-1])
        ids, answers = encode([p[0] for p in pairs]), encode([p[1] for p in pairs])
        return {
            "input_ids": ids,
            "attention_mask": (ids != SPECIAL.index(PAD)).long(),
            "labels": answers.masked_fill(answers == SPECIAL.index(PAD), IGNORE_INDEX),
        }

    day = datetime.date(2024, 3, 5)
    return TaskData(
        tokenizer,
        endless(make, schedule.seed),
        held_out_batches(lambda g, n: make(g, n, True)),
        ProbeExample(in_words(day), day.isoformat()),
        predicts="same",
        choose=lambda words: ProbeExample(words, other_way(words)),
    )


DATES = Task(
    name="dates",
    title="Date formats",
    description="Writes a date the other way: 5 March 2024 as 2024-03-05, and back.",
    goal=0.99,
    measure="exact",
    options={"first_year": 1900, "last_year": 2099},
    model={
        **SMALL,
        "architecture": "encoder-decoder",
        "positions": "learned",
        "max_positions": 64,
    },
    schedule=Schedule(steps=800, batch_size=64, learning_rate=2e-3),
    lesson=_lesson,
)
