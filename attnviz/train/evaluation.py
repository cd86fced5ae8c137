"""Loss and accuracy on data that is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnviz.train.training_setup import Batch, LabelAlignment

IGNORE_INDEX = -100  # transformers' label for positions without one


@dataclass(frozen=True)
class Score:
    """How well a model does.

    Attributes:
        loss: mean cross-entropy of a token (or class), in nats.
        accuracy: share of labelled tokens (or examples) where the likeliest is right.
        exact: share of examples with every labelled token right.
    """

    loss: float
    accuracy: float
    exact: float


@torch.no_grad()
def evaluate(
    module: Any, batches: Sequence[Batch], predicts: LabelAlignment, device: torch.device
) -> Score:
    """Runs the batches through the model, without dropout, and leaves its mode as it was."""
    was_training = module.training
    module.eval()
    try:
        total, n_labels, n_right, n_exact, n_examples = 0.0, 0, 0, 0, 0
        for batch in batches:
            moved = {name: values.to(device) for name, values in batch.items()}
            output = module(**moved)
            guesses, labels = aligned(output.logits, moved["labels"], predicts)
            counted = labels != IGNORE_INDEX
            right = (guesses == labels) | ~counted
            n = int(counted.sum())
            total += float(output.loss) * n
            n_labels += n
            n_right += int((right & counted).sum())
            n_exact += int(right.flatten(1).all(1).sum()) if right.ndim > 1 else int(right.sum())
            n_examples += len(labels)
    finally:
        module.train(was_training)
    count = max(1, n_labels)
    return Score(total / count, n_right / count, n_exact / max(1, n_examples))


def aligned(logits: Tensor, labels: Tensor, predicts: LabelAlignment) -> tuple[Tensor, Tensor]:
    """(B, n) likeliest tokens and the labels they should be; (B,) for classes."""
    if predicts == "next":
        return logits[:, :-1].argmax(-1), labels[:, 1:]
    return logits.argmax(-1), labels
