"""Copy, reverse, sort, and repeat an earlier sequence (induction)."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.held_out import HELD_OUT_SEED, held_out_batches, sample_split
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.tasks.transformer import SMALL_TRANSFORMER
from attnviz.train.tasks.vocabulary import SPECIAL_TOKENS, character_tokenizer
from attnviz.train.training_setup import Batch, ProbeExample, generated_batches

LETTERS = string.ascii_lowercase + string.ascii_uppercase
SEPARATOR, STOP = ">", "."  # between question and answer; after the answer
SEPARATOR_ID, STOP_ID = len(SPECIAL_TOKENS), len(SPECIAL_TOKENS) + 1
FIRST_LETTER_ID = len(SPECIAL_TOKENS) + 2


def _transduction(
    answer: Callable[[Tensor], Tensor],
) -> Callable[[dict[str, Any], dict[str, Any], Schedule], TaskData]:
    """Data of the form ``question>answer.``

    Args:
        answer: (n, length) ids of the questions -> (n, length) ids of the answers.
    """

    def make_data(
        options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
    ) -> TaskData:
        letters = _letters(options["symbols"])
        shortest, longest = _lengths(options)
        tokenizer = character_tokenizer([SEPARATOR, STOP, *letters])

        def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
            length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))

            def sample(g: torch.Generator, m: int) -> Tensor:
                first, end = FIRST_LETTER_ID, FIRST_LETTER_ID + len(letters)
                return torch.randint(first, end, (m, length), generator=g)

            question = sample_split(sample, generator, n, held_out)  # (n, length)
            separator, stop = (torch.full((n, 1), i) for i in (SEPARATOR_ID, STOP_ID))
            ids = torch.cat([question, separator, answer(question), stop], dim=1)
            labels = ids.clone()
            labels[:, : length + 1] = IGNORE_INDEX
            return {"input_ids": ids, "labels": labels}

        batch = make(torch.Generator().manual_seed(HELD_OUT_SEED + 1), 1, True)
        text = str(tokenizer.decode(batch["input_ids"][0]))
        return TaskData(
            tokenizer,
            generated_batches(make, schedule.seed),
            held_out_batches(lambda g, n: make(g, n, True)),
            ProbeExample(text.removesuffix(STOP)),
        )

    return make_data


def _repetition(
    options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
) -> TaskData:
    """A random sequence of letters, twice: the second can only be predicted from the first."""
    letters = _letters(options["symbols"])
    shortest, longest = _lengths(options)
    if longest > len(letters):
        raise AttnVizError(
            f"{longest} different letters cannot be drawn from {len(letters)}.",
            "Choose more symbols or a smaller length.",
        )
    tokenizer = character_tokenizer([SEPARATOR, STOP, *letters])

    def make(generator: torch.Generator, n: int, held_out: bool = False) -> Batch:
        length = int(torch.randint(shortest, longest + 1, (1,), generator=generator))

        def sample(g: torch.Generator, m: int) -> Tensor:
            # letters without replacement, so that each has exactly one successor
            order = torch.rand(m, len(letters), generator=g).argsort(1)  # (m, len(letters))
            return order[:, :length] + FIRST_LETTER_ID

        once = sample_split(sample, generator, n, held_out)  # (n, length)
        ids = torch.cat([once, once], dim=1)
        labels = ids.clone()
        labels[:, : length + 1] = IGNORE_INDEX  # the first repeated letter is unpredictable
        return {"input_ids": ids, "labels": labels}

    batch = make(torch.Generator().manual_seed(HELD_OUT_SEED + 1), 1, True)
    return TaskData(
        tokenizer,
        generated_batches(make, schedule.seed),
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


_MODEL = {**SMALL_TRANSFORMER, "positions": "rope"}
_DATA = {"symbols": 16, "shortest": 5, "longest": 12}

COPY = Task(
    name="copy",
    title="Copy",
    description="Copies a string: bdac>bdac.",
    goal=0.99,
    measure="exact",
    options=_DATA,
    model=_MODEL,
    schedule=Schedule(steps=1200, batch_size=64, learning_rate=3e-3),
    make_data=_transduction(lambda question: question),
)
REVERSE = Task(
    name="reverse",
    title="Reverse",
    description="Reverses a string: bdac>cadb.",
    goal=0.99,
    measure="exact",
    options=_DATA,
    model=_MODEL,
    schedule=Schedule(steps=1500, batch_size=96, learning_rate=2e-3),
    make_data=_transduction(lambda question: question.flip(1)),
)
SORT = Task(
    name="sort",
    title="Sort",
    description="Sorts a string's letters: bdac>abcd.",
    goal=0.99,
    measure="exact",
    options=_DATA,
    model=_MODEL,
    schedule=Schedule(steps=1500, batch_size=64, learning_rate=2e-3),
    make_data=_transduction(lambda question: question.sort(dim=1).values),
)
INDUCTION = Task(
    name="induction",
    title="Induction",
    description="Continues repeated random letters; an induction head emerges.",
    goal=0.99,
    measure="accuracy",
    options={"symbols": 40, "shortest": 8, "longest": 24},
    model={**_MODEL, "feed_forward": False},  # two layers of attention suffice
    schedule=Schedule(steps=800, batch_size=64, learning_rate=2e-3),
    make_data=_repetition,
)
