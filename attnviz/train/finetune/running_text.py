"""Batches of running text, for a causal or a masked language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.finetune.data_files import Row
from attnviz.train.finetune.dataset import (
    EVALUATION_BATCH,
    MAX_HELD_OUT,
    FinetuneData,
    n_held_out,
)
from attnviz.train.settings import FinetuneWork, Schedule
from attnviz.train.training_setup import Batch, ProbeExample, batch_generator, shuffled_epochs

# Shares of tokens to predict, and of those the ones that are hidden and that are left as they are;
# the others become random tokens (Devlin et al. 2018).
MASKED, HIDDEN, UNCHANGED = 0.15, 0.8, 0.1
MASK_SEED = 2**31  # for the held-out examples; above every seed of a training
PROBE_TOKENS = 24


def text_data(
    rows: Sequence[Row],
    work: FinetuneWork,
    schedule: Schedule,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> FinetuneData:
    """The concatenated texts, cut into examples of ``length`` tokens each.

    Raises:
        AttnVizError: there are too few tokens, or no mask token for masked language modeling.
    """
    masked = work.objective == "masked"
    if masked and tokenizer.mask_token_id is None:
        raise AttnVizError("This tokenizer has no mask token.", "Choose another objective.")
    ids = _concatenated(rows, work.text_column, tokenizer, separate=len(rows) > 1 and not masked)
    prefix = [i for i in (tokenizer.cls_token_id,) if masked and i is not None]
    suffix = [i for i in (tokenizer.sep_token_id,) if masked and i is not None]
    examples = _examples(ids, length, prefix, suffix)  # (N, length)
    kept = n_held_out(len(examples), work.held_out)
    train, held_out = examples[: len(examples) - kept], examples[len(examples) - kept :]
    probe_row = (held_out if kept else train)[0]
    probe_ids = probe_row[len(prefix) : len(prefix) + PROBE_TOKENS].tolist()
    if masked:
        probe_ids[len(probe_ids) // 2] = tokenizer.mask_token_id
    shuffled = shuffled_epochs({"input_ids": train}, schedule.seed)

    def with_labels(batch: Tensor, generator: torch.Generator) -> Batch:
        if masked:
            return mask_tokens(batch, tokenizer, generator)
        return {"input_ids": batch, "labels": batch.clone()}

    def get_batch(indices: Sequence[int]) -> Batch:
        generator = batch_generator(schedule.seed, indices)
        return with_labels(shuffled(indices)["input_ids"], generator)

    generator = torch.Generator().manual_seed(MASK_SEED)
    parts = held_out[:MAX_HELD_OUT].split(EVALUATION_BATCH) if kept else ()
    return FinetuneData(
        get_batch,
        tuple(with_labels(part, generator) for part in parts),
        ProbeExample(str(tokenizer.decode(probe_ids)).strip()),
        "same" if masked else "next",
    )


def _concatenated(
    rows: Sequence[Row], column: str, tokenizer: PreTrainedTokenizerBase, separate: bool
) -> list[int]:
    """Token ids of all rows; ``separate`` appends an end-of-text token to each row."""
    ids: list[int] = []
    for row in rows:
        text = row.values[column]
        ids += tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if separate and tokenizer.eos_token_id is not None:
            ids.append(tokenizer.eos_token_id)
    return ids


def _examples(ids: list[int], length: int, prefix: list[int], suffix: list[int]) -> Tensor:
    """(N, length): consecutive pieces, each between the prefix and the suffix."""
    piece = length - len(prefix) - len(suffix)
    n = len(ids) // piece
    if n < 2:
        raise AttnVizError(
            f"The data has {len(ids):,} tokens, too few for two examples of {length}.",
            "Add text, or choose a smaller length.",
        )
    pieces = torch.tensor(ids[: n * piece]).view(n, piece)  # (n * piece,) -> (n, piece)
    first, last = (torch.tensor(p, dtype=torch.long).expand(n, -1) for p in (prefix, suffix))
    return torch.cat([first, pieces, last], dim=1)


def mask_tokens(
    ids: Tensor, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator
) -> Batch:
    """(B, n) ids with random tokens masked, at least one in a row and never a special token."""
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chance = torch.rand(ids.shape, generator=generator).masked_fill(special, 2.0)
    masked = chance < MASKED
    masked[torch.arange(len(ids)), chance.argmin(1)] = True
    how = torch.rand(ids.shape, generator=generator)
    random_ids = torch.randint(0, len(tokenizer), ids.shape, generator=generator)
    inputs = ids.masked_fill(masked & (how < HIDDEN), tokenizer.mask_token_id)  # type: ignore[arg-type]
    inputs = torch.where(masked & (how >= 1 - UNCHANGED), random_ids, inputs)
    return {"input_ids": inputs, "labels": ids.masked_fill(~masked, IGNORE_INDEX)}
