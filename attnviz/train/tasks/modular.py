"""Modular addition, a + b mod p: memorized early, generalized late (grokking)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.tasks.transformer import SMALL_TRANSFORMER
from attnviz.train.tasks.vocabulary import SPECIAL_TOKENS, word_tokenizer
from attnviz.train.training_setup import ProbeExample, shuffled_epochs

PLUS_ID, EQUALS_ID, ZERO_ID = (len(SPECIAL_TOKENS) + i for i in range(3))
ANSWER = 4  # position of c in "a + b = c"
EVALUATION_BATCH = 512


def _make_data(
    options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
) -> TaskData:
    p, share = options["modulus"], options["trained"]
    if not (3 <= p <= 199 and 0.05 <= share <= 0.95):
        raise AttnVizError(
            f"The modulus {p} with a share of {share} cannot be.",
            "Choose a modulus of 3 to 199, and 0.05 to 0.95 of the sums to train on.",
        )
    tokenizer = word_tokenizer(["+", "=", *map(str, range(p))])
    ids = _all_sums(p)
    labels = torch.full_like(ids, IGNORE_INDEX)
    labels[:, ANSWER] = ids[:, ANSWER]
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(schedule.seed))
    n_train = round(len(ids) * share)
    train, held_out = order[:n_train], order[n_train:]
    return TaskData(
        tokenizer,
        shuffled_epochs({"input_ids": ids[train], "labels": labels[train]}, schedule.seed),
        tuple(
            {"input_ids": ids[rows], "labels": labels[rows]}
            for rows in held_out.split(EVALUATION_BATCH)
        ),
        ProbeExample(str(tokenizer.decode(ids[held_out[0], :ANSWER]))),
    )


def _all_sums(p: int) -> Tensor:
    """(p * p, 5) ids of every "a + b = c" modulo p."""
    a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
    plus, equals = torch.full_like(a, PLUS_ID), torch.full_like(a, EQUALS_ID)
    columns = [a + ZERO_ID, plus, b + ZERO_ID, equals, (a + b) % p + ZERO_ID]
    return torch.stack(columns, dim=1)


MODULAR = Task(
    name="modular",
    title="Modular addition",
    description="Adds modulo a prime: 17 + 50 = 8 (mod 59). Memorizes first, then suddenly "
    "generalizes (grokking).",
    goal=0.99,
    measure="exact",
    options={"modulus": 59, "trained": 0.5},
    model={
        **SMALL_TRANSFORMER,
        "d_model": 128,
        "n_layers": 1,
        "positions": "learned",
        "norm": "none",
        "feed_forward_size": 256,
        "initializer_range": 0.02,  # with large initial weights it generalizes later or never
    },
    schedule=Schedule(
        steps=2000,
        batch_size=512,
        learning_rate=2e-3,
        weight_decay=1.0,
        decay="constant",
        evaluations=40,
        snapshots=40,
    ),
    make_data=_make_data,
)
