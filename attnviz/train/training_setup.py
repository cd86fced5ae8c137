"""What a training is made of: a module, its data in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Batch = dict[str, Tensor]

# Where the label of a logit lies: "next", one position on (decoders); "same", in its place
# (encoder-decoders, masked models); "class", one for the whole example.
LabelAlignment = Literal["next", "same", "class"]


@dataclass(frozen=True)
class ProbeExample:
    """The fixed input whose attention is kept while the model learns.

    Attributes:
        text, target: as `Model.trace` takes them. image: a PIL image instead.
    """

    text: str | None = None
    target: str | None = None
    image: Any | None = None


@dataclass(frozen=True)
class TrainingSetup:
    """Everything the loop needs, whatever is being learned.

    Attributes:
        module: what learns; a PEFT model where an adapter does.
        draw: (indices) -> a batch of the examples at these places of the endless training order.
        held_out: batches that are only evaluated on.
        notes: sentences for the person.
        about: title and description for the catalog.
    """

    module: Any
    tokenizer: PreTrainedTokenizerBase | None
    processor: Any | None
    draw: Callable[[Sequence[int]], Batch]
    held_out: tuple[Batch, ...]
    probe: ProbeExample
    predicts: LabelAlignment
    notes: tuple[str, ...] = ()
    about: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> PreTrainedModel:
        """The transformers model, inside its adapter where it has one."""
        inner = getattr(self.module, "get_base_model", None)
        return inner() if inner is not None else self.module


class Examples(Dataset[Batch]):
    """The training order as a dataset: place i always holds the same example.

    So a resumed training continues with what would have come next, without replaying anything.
    """

    def __init__(self, draw: Callable[[Sequence[int]], Batch], n: int) -> None:
        self._draw = draw
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> Batch:
        return {name: values[0] for name, values in self._draw([index]).items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch at once; torch's loader asks this way."""
        return self._draw(indices)


def identity_collator(batch: Batch) -> Batch:
    """`Examples` gives whole batches, so there is nothing to collate."""
    return batch


def shuffled(data: Batch, seed: int) -> Callable[[Sequence[int]], Batch]:
    """Draws from a finite set: each round goes once through all of it, in an order of its own."""
    n = len(next(iter(data.values())))
    orders: dict[int, Tensor] = {}

    def order(round_: int) -> Tensor:
        if round_ not in orders:
            while len(orders) > 2:  # a batch touches two rounds at most, unless the set is tiny
                orders.pop(next(iter(orders)))
            generator = torch.Generator().manual_seed(seed * 1_000_003 + round_)
            orders[round_] = torch.randperm(n, generator=generator)
        return orders[round_]

    def draw(indices: Sequence[int]) -> Batch:
        places = torch.tensor([int(order(i // n)[i % n]) for i in indices])
        return {name: values[places] for name, values in data.items()}

    return draw


def endless(
    make: Callable[[torch.Generator, int], Batch], seed: int
) -> Callable[[Sequence[int]], Batch]:
    """Draws from a generator of examples, seeded by the batch's place in the order."""

    def draw(indices: Sequence[int]) -> Batch:
        generator = torch.Generator().manual_seed(seed * 1_000_003_000 + indices[0])
        return make(generator, len(indices))

    return draw


def n_tokens(batch: Batch) -> int:
    """Positions that a batch makes the model work on; images count as one each."""
    if "input_ids" not in batch:
        return len(next(iter(batch.values())))
    n = batch["input_ids"].numel()
    labels = batch.get("labels")
    if labels is not None and labels.shape != batch["input_ids"].shape and labels.ndim == 2:
        n += labels.numel()  # the decoder of an encoder-decoder
    return n
