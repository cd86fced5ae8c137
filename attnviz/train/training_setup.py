"""What the training loop needs: a model, batches whose order depends only on the seed, a probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Batch = dict[str, Tensor]
GetBatch = Callable[[Sequence[int]], Batch]

# Which label belongs to a logit: "next", the label one position later (decoders); "same", the one
# at its own position (encoder-decoders, masked language models); "class", one for each example.
LabelAlignment = Literal["next", "same", "class"]


@dataclass(frozen=True)
class ProbeExample:
    """The fixed input whose attention is recorded at each snapshot.

    Attributes:
        text, target: as `Model.trace` takes them.
        image: a PIL image, instead of text.
    """

    text: str | None = None
    target: str | None = None
    image: Any | None = None


@dataclass(frozen=True)
class TrainingSetup:
    """Everything the training loop needs, the same for tasks and for fine-tuning.

    Attributes:
        module: the model that is trained, a PEFT model with LoRA.
        get_batch: the examples at these indices of the endless training order.
        held_out: batches that are only evaluated on.
        catalog_entry: title and description of the trained model.
    """

    module: Any
    tokenizer: PreTrainedTokenizerBase | None
    processor: Any | None
    get_batch: GetBatch
    held_out: tuple[Batch, ...]
    probe: ProbeExample
    label_alignment: LabelAlignment
    catalog_entry: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> PreTrainedModel:
        """The transformers model, without its adapter."""
        inner = getattr(self.module, "get_base_model", None)
        return inner() if inner is not None else self.module


class TrainingDataset(Dataset[Batch]):
    """The training order as a dataset: an index always gives the same example.

    A resumed run therefore continues with the next examples, without replaying the earlier ones.
    """

    def __init__(self, get_batch: GetBatch, n: int) -> None:
        self._get_batch = get_batch
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> Batch:
        return {name: values[0] for name, values in self._get_batch([index]).items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch; torch's data loader calls this where it exists."""
        return self._get_batch(indices)


def identity_collator(batch: Batch) -> Batch:
    """Collates nothing: `TrainingDataset` already returns whole batches."""
    return batch


def shuffled_epochs(data: Batch, seed: int) -> GetBatch:
    """Batches of a finite dataset, in epochs that are each shuffled differently.

    Args:
        data: tensors of N examples each, by name.
    """
    n = len(next(iter(data.values())))
    orders: dict[int, Tensor] = {}

    def order(epoch: int) -> Tensor:
        if epoch not in orders:
            while len(orders) > 2:  # a batch spans two epochs at most, unless the dataset is tiny
                orders.pop(next(iter(orders)))
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            orders[epoch] = torch.randperm(n, generator=generator)
        return orders[epoch]

    def get_batch(indices: Sequence[int]) -> Batch:
        rows = torch.tensor([int(order(i // n)[i % n]) for i in indices])
        return {name: values[rows] for name, values in data.items()}

    return get_batch


def generated_batches(make: Callable[[torch.Generator, int], Batch], seed: int) -> GetBatch:
    """Batches that are generated as they are needed.

    Args:
        make: (generator, n) -> a batch of n examples.
    """

    def get_batch(indices: Sequence[int]) -> Batch:
        return make(batch_generator(seed, indices), len(indices))

    return get_batch


def batch_generator(seed: int, indices: Sequence[int]) -> torch.Generator:
    """A random generator that depends on the seed and on the batch's first index alone."""
    return torch.Generator().manual_seed(seed * 1_000_003_000 + indices[0])


def n_tokens(batch: Batch) -> int:
    """Positions that the model processes in a batch; an image counts as one."""
    if "input_ids" not in batch:
        return len(next(iter(batch.values())))
    n = batch["input_ids"].numel()
    labels = batch.get("labels")
    if labels is not None and labels.shape != batch["input_ids"].shape and labels.ndim == 2:
        n += labels.numel()  # the decoder of an encoder-decoder
    return n
