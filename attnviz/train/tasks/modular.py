"""Modular addition: a + b modulo p, which is memorised first and understood late (grokking)."""

from __future__ import annotations

from typing import Any

import torch

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import SMALL, Task, TaskData
from attnviz.train.tasks.vocabulary import SPECIAL, word_tokenizer
from attnviz.train.training_setup import ProbeExample, shuffled

ANSWER = 4  # where the sum stands in "a + b = c"


def _lesson(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
    p, share = options["modulus"], options["trained"]
    if not (3 <= p <= 199 and 0.05 <= share <= 0.95):
        raise AttnVizError(
            f"The modulus {p} with a share of {share} cannot be.",
            "Choose a modulus of 3 to 199, and 0.05 to 0.95 of the sums to train on.",
        )
    tokenizer = word_tokenizer(["+", "=", *map(str, range(p))])
    plus, equals, zero = len(SPECIAL), len(SPECIAL) + 1, len(SPECIAL) + 2
    a, b = torch.arange(p).repeat_interleave(p), torch.arange(p).repeat(p)
    signs = torch.ones_like(a)
    columns = [a + zero, signs * plus, b + zero, signs * equals, (a + b) % p + zero]
    ids = torch.stack(columns, dim=1)  # (p * p, 5)
    labels = torch.full_like(ids, IGNORE_INDEX)
    labels[:, ANSWER] = ids[:, ANSWER]
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(schedule.seed))
    cut = round(len(ids) * share)
    train, held_out = ids[order[:cut]], order[cut:]
    probe = ids[held_out[0], :ANSWER]
    return TaskData(
        tokenizer,
        shuffled({"input_ids": train, "labels": labels[order[:cut]]}, schedule.seed),
        tuple({"input_ids": ids[part], "labels": labels[part]} for part in held_out.split(512)),
        ProbeExample(str(tokenizer.decode(probe))),
    )


MODULAR = Task(
    name="modular",
    title="Modular addition",
    description="Adds modulo a prime: 17 + 50 = 8 (mod 59). Right on unseen sums late, at once.",
    goal=0.99,
    measure="exact",
    options={"modulus": 59, "trained": 0.5},
    model={
        **SMALL,
        "d_model": 128,
        "n_layers": 1,
        "positions": "learned",
        "norm": "none",
        "feed_forward_size": 256,
        "initializer_range": 0.02,  # large first weights memorise, and understand later or never
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
    lesson=_lesson,
)
