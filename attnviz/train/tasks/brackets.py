"""Balanced brackets: the model writes the closing brackets that are missing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.held_out import HELD_OUT_SEED, held_out_batches, sample_split
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.tasks.transformer import SMALL_TRANSFORMER
from attnviz.train.tasks.vocabulary import (
    PAD,
    SPECIAL_TOKENS,
    character_tokenizer,
)
from attnviz.train.training_setup import Batch, ProbeExample, generated_batches

OPEN, CLOSE = "([{<", ")]}>"
SEPARATOR, STOP = "=", "."  # between the given brackets and the answer; after the answer
PAD_ID = SPECIAL_TOKENS.index(PAD)
SEPARATOR_ID, STOP_ID = len(SPECIAL_TOKENS), len(SPECIAL_TOKENS) + 1
FIRST_ID = len(SPECIAL_TOKENS) + 2  # of the opening brackets; the closing ones follow them
CLOSE_PROBABILITY = 0.45  # below one half, so that some brackets stay open


def _make_data(
    options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
) -> TaskData:
    kinds, length = options["kinds"], options["length"]
    if not (1 <= kinds <= len(OPEN) and 2 <= length <= 64):
        raise AttnVizError(
            f"{kinds} kinds of brackets and {length} of them cannot be.",
            f"Choose 1 to {len(OPEN)} kinds, and 2 to 64 brackets.",
        )
    tokenizer = character_tokenizer([SEPARATOR, STOP, *OPEN[:kinds], *CLOSE[:kinds]])

    def sample(generator: torch.Generator, n: int) -> Tensor:
        return bracket_prefixes(generator, n, length, kinds)

    def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
        return _batch(sample_split(sample, generator, n, held_out), kinds)

    batch = make(torch.Generator().manual_seed(HELD_OUT_SEED + 1), 16, True)
    longest_answer = int((batch["labels"] != IGNORE_INDEX).sum(1).argmax())
    text = str(tokenizer.decode(batch["input_ids"][longest_answer], skip_special_tokens=True))
    return TaskData(
        tokenizer,
        generated_batches(make, schedule.seed),
        held_out_batches(lambda g, n: make(g, n, True)),
        ProbeExample(text.rstrip(STOP)),
    )


def _batch(prefixes: Tensor, kinds: int) -> Batch:
    """The prefixes, (n, length) ids, with their answers, padded on the right."""
    n, length = prefixes.shape
    answers = [missing_brackets(row, kinds) for row in prefixes.tolist()]
    longest = max(len(answer) for answer in answers)
    ids = torch.full((n, length + longest + 2), PAD_ID)
    labels = torch.full_like(ids, IGNORE_INDEX)
    ids[:, :length] = prefixes
    ids[:, length] = SEPARATOR_ID
    for i, answer in enumerate(answers):
        answer_ids = torch.tensor([*answer, STOP_ID])
        columns = slice(length + 1, length + 1 + len(answer_ids))
        ids[i, columns] = answer_ids
        labels[i, columns] = answer_ids
    return {"input_ids": ids, "labels": labels, "attention_mask": (ids != PAD_ID).long()}


def bracket_prefixes(generator: torch.Generator, n: int, length: int, kinds: int) -> Tensor:
    """(n, length) ids of strings in which every closing bracket matches the last open one."""
    wants_to_close = torch.rand(n, length, generator=generator) < CLOSE_PROBABILITY
    kind = torch.randint(0, kinds, (n, length), generator=generator)
    ids = torch.empty(n, length, dtype=torch.long)
    stack = torch.zeros(n, length + 1, dtype=torch.long)  # kinds of the open brackets
    depth = torch.zeros(n, dtype=torch.long)
    rows = torch.arange(n)
    for i in range(length):
        closes = wants_to_close[:, i] & (depth > 0)
        last_open = stack[rows, (depth - 1).clamp(min=0)]
        ids[:, i] = FIRST_ID + torch.where(closes, kinds + last_open, kind[:, i])
        stack[rows, depth] = torch.where(closes, stack[rows, depth], kind[:, i])
        depth = depth + torch.where(closes, -1, 1)
    return ids


def missing_brackets(ids: list[int], kinds: int) -> list[int]:
    """Ids of the closing brackets that are missing at the end: `([` gives `])`."""
    stack: list[int] = []
    for i in ids:
        if i < FIRST_ID + kinds:
            stack.append(i)
        else:
            stack.pop()
    return [i + kinds for i in reversed(stack)]


BRACKETS = Task(
    name="brackets",
    title="Balanced brackets",
    description="Closes open brackets: ([{}=]).",
    goal=0.99,
    measure="exact",
    options={"kinds": 2, "length": 10},
    model={**SMALL_TRANSFORMER, "n_layers": 3, "positions": "rope"},
    schedule=Schedule(steps=1200, batch_size=64, learning_rate=2e-3),
    make_data=_make_data,
)
