"""A text of the person's own, character by character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from attnviz.errors import AttnVizError
from attnviz.train.settings import Schedule
from attnviz.train.tasks.task import Task, TaskData
from attnviz.train.tasks.transformer import SMALL_TRANSFORMER
from attnviz.train.tasks.vocabulary import SPECIAL_TOKENS, character_tokenizer
from attnviz.train.training_setup import Batch, ProbeExample, batch_generator

DEFAULT = (
    "the cat sat on the mat. the dog sat on the log. the hen sat in the pen. "
    "the cat saw the dog, and the dog saw the hen, and the hen saw the cat. "
    "the cat ran to the log. the dog ran to the pen. the hen ran to the mat. "
    "when the cat sat on the log, the dog sat in the pen, and the hen sat on the mat. "
) * 8
MAX_CHARACTERS = 2_000_000
MAX_PROBE = 48  # characters
HELD_OUT_PIECES = 256  # at most
EVALUATION_BATCH = 64


def _make_data(
    options: dict[str, Any], model_options: dict[str, Any], schedule: Schedule
) -> TaskData:
    text, length = options["text"], options["length"]
    train_end = len(text) * 9 // 10  # the last tenth is held out
    _check(text, length, train_end)
    characters = sorted(set(text))
    ids_of = {c: len(SPECIAL_TOKENS) + i for i, c in enumerate(characters)}
    ids = torch.tensor([ids_of[c] for c in text])
    train, held_out = ids[:train_end], ids[train_end:]

    def get_batch(indices: Sequence[int]) -> Batch:
        starts = torch.randint(
            0,
            len(train) - length,
            (len(indices), 1),
            generator=batch_generator(schedule.seed, indices),
        )
        rows = train[starts + torch.arange(length)]  # (n, length)
        return {"input_ids": rows, "labels": rows.clone()}

    # overlapping where the text is short, so that there are about 64 pieces
    stride = max(1, min(length, (len(held_out) - length) // 64 or 1))
    pieces = held_out.unfold(0, length, stride)[:HELD_OUT_PIECES]  # (pieces, length)
    return TaskData(
        character_tokenizer(characters),
        get_batch,
        tuple(
            {"input_ids": part, "labels": part.clone()} for part in pieces.split(EVALUATION_BATCH)
        ),
        ProbeExample(text[train_end : train_end + min(length, MAX_PROBE)]),
    )


def _check(text: str, length: int, train_end: int) -> None:
    """Raises AttnVizError where the text or its pieces are too short or too long."""
    if not 4 <= length <= 1024:
        raise AttnVizError(f"length is {length}.", "Choose 4 to 1024 characters.")
    if len(text) > MAX_CHARACTERS:
        raise AttnVizError(
            f"The text has {len(text):,} characters, and at most {MAX_CHARACTERS:,} are read.",
            "Shorten it.",
        )
    if len(text) - train_end < length + 1:
        raise AttnVizError(
            f"The text has {len(text):,} characters, too few for pieces of {length}.",
            f"Paste at least {10 * (length + 1):,}, or choose shorter pieces.",
        )


TEXT = Task(
    name="text",
    title="Your own text",
    description="Learns a pasted text, character by character.",
    goal=None,
    measure="accuracy",
    options={"text": DEFAULT, "length": 64},
    model={**SMALL_TRANSFORMER, "positions": "rope"},
    schedule=Schedule(steps=800, batch_size=32, learning_rate=2e-3),
    make_data=_make_data,
)
