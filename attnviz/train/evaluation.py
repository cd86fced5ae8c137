"""Loss and accuracy on held-out batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnviz.train.training_setup import Batch, LabelAlignment

IGNORE_INDEX = -100  # transformers' label for positions that have none


@dataclass(frozen=True)
class Score:
    """Results of an evaluation.

    Attributes:
        loss: mean cross-entropy of a token (or class), in nats.
        accuracy: share of labeled tokens (or examples) predicted correctly by the argmax.
        exact: share of examples of which every labeled token is correct.
    """

    loss: float
    accuracy: float
    exact: float


@torch.no_grad()
def evaluate(
    module: Any, batches: Sequence[Batch], alignment: LabelAlignment, device: torch.device
) -> Score:
    """Evaluates the module on the batches, without dropout; its mode is restored afterwards."""
    was_training = module.training
    module.eval()
    try:
        total, n_labels, n_right, n_exact, n_examples = 0.0, 0, 0, 0, 0
        for batch in batches:
            on_device = {name: values.to(device) for name, values in batch.items()}
            output = module(**on_device)
            predictions, labels = align_labels(output.logits, on_device["labels"], alignment)
            labeled = labels != IGNORE_INDEX
            right = (predictions == labels) | ~labeled
            n = int(labeled.sum())
            total += float(output.loss) * n
            n_labels += n
            n_right += int((right & labeled).sum())
            n_exact += int(right.flatten(1).all(1).sum()) if right.ndim > 1 else int(right.sum())
            n_examples += len(labels)
    finally:
        module.train(was_training)
    count = max(1, n_labels)
    return Score(total / count, n_right / count, n_exact / max(1, n_examples))


def align_labels(
    logits: Tensor, labels: Tensor, alignment: LabelAlignment
) -> tuple[Tensor, Tensor]:
    """Argmax predictions and the labels they are compared with: (B, n), or (B,) for classes."""
    if alignment == "next":
        return logits[:, :-1].argmax(-1), labels[:, 1:]
    return logits.argmax(-1), labels
