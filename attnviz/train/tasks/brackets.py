"""Balanced brackets: the model closes what is open."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import (
    HELD_OUT_SEED,
    SMALL,
    Task,
    TaskData,
    held_out_batches,
    sample_split,
)
from attnviz.train.tasks.vocabulary import SPECIAL, character_tokenizer
from attnviz.train.training_setup import Batch, ProbeExample, endless

OPEN, CLOSE = "([{<", ")]}>"
THEN, STOP = "=", "."
FIRST = len(SPECIAL) + 2


def _lesson(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
    kinds, length = options["kinds"], options["length"]
    if not (1 <= kinds <= len(OPEN) and 2 <= length <= 64):
        raise AttnVizError(
            f"{kinds} kinds of brackets and {length} of them cannot be.",
            f"Choose 1 to {len(OPEN)} kinds, and 2 to 64 brackets.",
        )
    tokenizer = character_tokenizer([THEN, STOP, *OPEN[:kinds], *CLOSE[:kinds]])

    def sample(generator: torch.Generator, n: int) -> Tensor:
        return beginnings(generator, n, length, kinds)

    def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
        beginning = sample_split(sample, generator, n, held_out)  # (n, length)
        answers = [closing(row, kinds) for row in beginning.tolist()]
        longest = max(len(answer) for answer in answers)
        then, stop, pad = len(SPECIAL), len(SPECIAL) + 1, 0
        ids = torch.full((n, length + longest + 2), pad)
        labels = torch.full_like(ids, IGNORE_INDEX)
        ids[:, :length] = beginning
        ids[:, length] = then
        for i, answer in enumerate(answers):
            whole = torch.tensor([*answer, stop])
            ids[i, length + 1 : length + 1 + len(whole)] = whole
            labels[i, length + 1 : length + 1 + len(whole)] = whole
        return {"input_ids": ids, "labels": labels, "attention_mask": (ids != pad).long()}

    batch = make(torch.Generator().manual_seed(HELD_OUT_SEED + 1), 16, True)
    longest = int((batch["labels"] != IGNORE_INDEX).sum(1).argmax())
    whole = str(tokenizer.decode(batch["input_ids"][longest], skip_special_tokens=True))
    return TaskData(
        tokenizer,
        endless(make, schedule.seed),
        held_out_batches(lambda g, n: make(g, n, True)),
        ProbeExample(whole.rstrip(STOP)),
    )


def beginnings(generator: torch.Generator, n: int, length: int, kinds: int) -> Tensor:
    """(n, length) ids of strings in which each closing bracket fits the last open one."""
    closes = torch.rand(n, length, generator=generator) < 0.45
    kind = torch.randint(0, kinds, (n, length), generator=generator)
    out = torch.empty(n, length, dtype=torch.long)
    stack = torch.zeros(n, length + 1, dtype=torch.long)
    depth = torch.zeros(n, dtype=torch.long)
    rows = torch.arange(n)
    for i in range(length):
        closing_now = closes[:, i] & (depth > 0)
        last = stack[rows, (depth - 1).clamp(min=0)]
        out[:, i] = FIRST + torch.where(closing_now, kinds + last, kind[:, i])
        stack[rows, depth] = torch.where(closing_now, stack[rows, depth], kind[:, i])
        depth = depth + torch.where(closing_now, -1, 1)
    return out


def closing(ids: list[int], kinds: int) -> list[int]:
    """The brackets that are missing at the end: `([` gives `])`."""
    stack: list[int] = []
    for i in ids:
        if i < FIRST + kinds:
            stack.append(i)
        else:
            stack.pop()
    return [i + kinds for i in reversed(stack)]


BRACKETS = Task(
    name="brackets",
    title="Balanced brackets",
    description="Closes the brackets that are open: ([{}=]).",
    goal=0.99,
    measure="exact",
    options={"kinds": 2, "length": 10},
    model={**SMALL, "n_layers": 3, "positions": "rope"},
    schedule=Schedule(steps=1200, batch_size=64, learning_rate=2e-3),
    lesson=_lesson,
)
