"""Any text, character by character."""

from __future__ import annotations

from typing import Any

import torch

from attnviz.errors import AttnVizError
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import SMALL, Task, TaskData
from attnviz.train.tasks.vocabulary import SPECIAL, character_tokenizer
from attnviz.train.training_setup import Batch, ProbeExample

DEFAULT = (
    "the cat sat on the mat. the dog sat on the log. the hen sat in the pen. "
    "the cat saw the dog, and the dog saw the hen, and the hen saw the cat. "
    "the cat ran to the log. the dog ran to the pen. the hen ran to the mat. "
    "when the cat sat on the log, the dog sat in the pen, and the hen sat on the mat. "
) * 8
MAX_CHARACTERS = 2_000_000


def _lesson(options: dict[str, Any], model: dict[str, Any], schedule: Schedule) -> TaskData:
    text, length = options["text"], options["length"]
    if not 4 <= length <= 1024:
        raise AttnVizError(f"length is {length}.", "Choose 4 to 1024 characters.")
    if len(text) > MAX_CHARACTERS:
        raise AttnVizError(
            f"The text has {len(text):,} characters, and at most {MAX_CHARACTERS:,} are read.",
            "Shorten it.",
        )
    cut = len(text) * 9 // 10
    if len(text) - cut < length + 1:
        raise AttnVizError(
            f"The text has {len(text):,} characters, too few for pieces of {length}.",
            f"Paste at least {10 * (length + 1):,}, or choose shorter pieces.",
        )
    characters = sorted(set(text))
    tokenizer = character_tokenizer(characters)
    numbers = {c: len(SPECIAL) + i for i, c in enumerate(characters)}
    ids = torch.tensor([numbers[c] for c in text])
    train, rest = ids[:cut], ids[cut:]

    def draw(indices: Any) -> Batch:
        generator = torch.Generator().manual_seed(schedule.seed * 1_000_003_000 + indices[0])
        starts = torch.randint(0, len(train) - length, (len(indices), 1), generator=generator)
        rows = train[starts + torch.arange(length)]  # (n, length)
        return {"input_ids": rows, "labels": rows.clone()}

    pieces = rest.unfold(0, length, max(1, min(length, (len(rest) - length) // 64 or 1)))[:256]
    return TaskData(
        tokenizer,
        draw,
        tuple({"input_ids": part, "labels": part.clone()} for part in pieces.split(64)),
        ProbeExample(text[cut : cut + min(length, 48)]),
    )


TEXT = Task(
    name="text",
    title="Your own text",
    description="Continues a pasted text, character by character.",
    goal=None,
    measure="accuracy",
    options={"text": DEFAULT, "length": 64},
    model={**SMALL, "positions": "rope"},
    schedule=Schedule(steps=800, batch_size=32, learning_rate=2e-3),
    lesson=_lesson,
)
