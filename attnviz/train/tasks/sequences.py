"""Copy, reverse, sort, and repeat what was seen before (induction)."""

from __future__ import annotations

import string
from collections.abc import Callable
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

LETTERS = string.ascii_lowercase + string.ascii_uppercase
THEN, STOP = ">", "."  # between question and answer, and after it
FIRST = len(SPECIAL) + 2  # the first letter's id


def _transduction(
    answer: Callable[[Tensor], Tensor],
) -> Callable[[dict[str, Any], dict[str, Any], Schedule], TaskData]:
    """Lessons of the form ``question>answer.``, the answer a function of the question's ids."""

    def lesson(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
        letters = _letters(options["symbols"])
        shortest, longest = _lengths(options)
        tokenizer = character_tokenizer([THEN, STOP, *letters])

        def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
            length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))

            def sample(g: torch.Generator, m: int) -> Tensor:
                return torch.randint(FIRST, FIRST + len(letters), (m, length), generator=g)

            question = sample_split(sample, generator, n, held_out)  # (n, length)
            then, stop = (torch.full((n, 1), len(SPECIAL) + i) for i in (0, 1))
            ids = torch.cat([question, then, answer(question), stop], dim=1)
            labels = ids.clone()
            labels[:, : length + 1] = IGNORE_INDEX
            return {"input_ids": ids, "labels": labels}

        batch = make(torch.Generator().manual_seed(HELD_OUT_SEED + 1), 1, True)
        whole = str(tokenizer.decode(batch["input_ids"][0]))
        return TaskData(
            tokenizer,
            endless(make, schedule.seed),
            held_out_batches(lambda g, n: make(g, n, True)),
            ProbeExample(whole[:-1]),
        )

    return lesson


def _repetition(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
    """Random letters, then the same again: only what came before tells what comes next."""
    letters = _letters(options["symbols"])
    shortest, longest = _lengths(options)
    if longest > len(letters):
        raise AttnVizError(
            f"{longest} different letters cannot be drawn from {len(letters)}.",
            "Choose more symbols or a smaller length.",
        )
    tokenizer = character_tokenizer([THEN, STOP, *letters])

    def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
        length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))

        def sample(g: torch.Generator, m: int) -> Tensor:
            # each letter once, so that what follows it is never in doubt
            return torch.rand(m, len(letters), generator=g).argsort(1)[:, :length] + FIRST

        once = sample_split(sample, generator, n, held_out)
        ids = torch.cat([once, once], dim=1)
        labels = ids.clone()
        labels[:, : length + 1] = IGNORE_INDEX  # the first repeated letter cannot be known
        return {"input_ids": ids, "labels": labels}

    batch = make(torch.Generator().manual_seed(HELD_OUT_SEED + 1), 1, True)
    return TaskData(
        tokenizer,
        endless(make, schedule.seed),
        held_out_batches(lambda g, n: make(g, n, True)),
        ProbeExample(str(tokenizer.decode(batch["input_ids"][0, :-1]))),
    )


def _letters(count: int) -> str:
    if not 2 <= count <= len(LETTERS):
        raise AttnVizError(f"symbols is {count}.", f"Choose 2 to {len(LETTERS)}.")
    return LETTERS[:count]


def _lengths(options: dict[str, Any]) -> tuple[int, int]:
    shortest, longest = options["shortest"], options["longest"]
    if not 2 <= shortest <= longest <= 128:
        raise AttnVizError(
            f"The lengths {shortest} to {longest} cannot be.", "Choose 2 to 128, shortest first."
        )
    return shortest, longest


_SMALL = {**SMALL, "positions": "rope"}
_SPAN = {"symbols": 16, "shortest": 5, "longest": 12}

COPY = Task(
    name="copy",
    title="Copy",
    description="Writes a string again: bdac>bdac.",
    goal=0.99,
    measure="exact",
    options=_SPAN,
    model=_SMALL,
    schedule=Schedule(steps=1200, batch_size=64, learning_rate=3e-3),
    lesson=_transduction(lambda question: question),
)
REVERSE = Task(
    name="reverse",
    title="Reverse",
    description="Writes a string backwards: bdac>cadb.",
    goal=0.99,
    measure="exact",
    options=_SPAN,
    model=_SMALL,
    schedule=Schedule(steps=1500, batch_size=96, learning_rate=2e-3),
    lesson=_transduction(lambda question: question.flip(1)),
)
SORT = Task(
    name="sort",
    title="Sort",
    description="Writes a string's letters in order: bdac>abcd.",
    goal=0.99,
    measure="exact",
    options=_SPAN,
    model=_SMALL,
    schedule=Schedule(steps=1500, batch_size=64, learning_rate=2e-3),
    lesson=_transduction(lambda question: question.sort(dim=1).values),
)
INDUCTION = Task(
    name="induction",
    title="Induction",
    description="Continues random letters that repeat: an induction head appears.",
    goal=0.99,
    measure="accuracy",
    options={"symbols": 40, "shortest": 8, "longest": 24},
    model={**_SMALL, "feed_forward": False},  # two layers of attention are all it takes
    schedule=Schedule(steps=800, batch_size=64, learning_rate=2e-3),
    lesson=_repetition,
)
