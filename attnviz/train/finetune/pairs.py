"""Batches of pairs: a text and its class, or a source and its target."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.finetune.data_files import Row
from attnviz.train.finetune.dataset import (
    EVALUATION_BATCH,
    MAX_HELD_OUT,
    FinetuneData,
    class_labels,
    columns_of,
    n_held_out,
)
from attnviz.train.settings import FinetuneWork, Schedule
from attnviz.train.training_setup import Batch, ProbeExample, shuffled_epochs


def pair_data(
    rows: Sequence[Row],
    work: FinetuneWork,
    schedule: Schedule,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> FinetuneData:
    """One example for each row, cut off after ``length`` tokens.

    Raises:
        AttnVizError: there are too few rows, or all rows with some label are held out.
    """
    order = list(range(len(rows)))
    random.Random(schedule.seed).shuffle(order)
    kept = n_held_out(len(rows), work.held_out)
    if len(rows) - kept < 2:
        raise AttnVizError(f"There are only {len(rows)} rows.", "Add some examples.")
    held_out, train = order[:kept], order[kept:]
    labels = class_labels(rows, work) if work.objective == "classify" else ()
    if labels:
        _require_rows_of_each(labels, rows, train, work)
    columns = columns_of(work)
    shuffled = shuffled_epochs({"row": torch.tensor(train)}, schedule.seed)

    def batch_of(chosen: Sequence[int]) -> Batch:
        pairs = [[rows[i].values[column] for column in columns] for i in chosen]
        return _batch(pairs, labels, tokenizer, length)

    def get_batch(indices: Sequence[int]) -> Batch:
        return batch_of(shuffled(indices)["row"].tolist())

    evaluated = held_out[:MAX_HELD_OUT]
    starts = range(0, len(evaluated), EVALUATION_BATCH)
    source, answer = (rows[(held_out or train)[0]].values[column] for column in columns)
    return FinetuneData(
        get_batch,
        tuple(batch_of(evaluated[i : i + EVALUATION_BATCH]) for i in starts),
        ProbeExample(source, None if labels else answer),
        "class" if labels else "same",
    )


def _batch(
    pairs: Sequence[Sequence[str]],
    labels: tuple[str, ...],
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> Batch:
    """Tokenized texts or sources, with class indices (n,) or target ids (n, longest) as labels.

    Args:
        labels: the classes; empty where the second of each pair is a target.
    """
    batch = _tokenized(tokenizer, [text for text, _ in pairs], length)
    answers = [answer for _, answer in pairs]
    if labels:
        batch["labels"] = torch.tensor([labels.index(answer.strip()) for answer in answers])
    else:
        target = _tokenized(tokenizer, answers, length, as_target=True)
        padding = target["attention_mask"] == 0
        batch["labels"] = target["input_ids"].masked_fill(padding, IGNORE_INDEX)
    return batch


def _require_rows_of_each(
    labels: tuple[str, ...], rows: Sequence[Row], train: Sequence[int], work: FinetuneWork
) -> None:
    """Raises AttnVizError if a label has no row to train on."""
    trained = {rows[i].values[work.label_column].strip() for i in train}
    for label in labels:
        if label not in trained:
            line = next(r.line for r in rows if r.values[work.label_column].strip() == label)
            raise AttnVizError(
                f"The label '{label}' (line {line}) has too few rows: all are held out.",
                "Add rows with it, hold out less, or choose another seed.",
            )


def _tokenized(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int, as_target: bool = False
) -> Batch:
    """Padded ids (n, longest) with their attention mask."""
    given: dict[str, Any] = {"text_target" if as_target else "text": texts}
    encoded = tokenizer(
        **given, truncation=True, max_length=length, padding=True, return_tensors="pt"
    )
    return {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}
