"""From a person's rows to batches of tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.train.evaluation import IGNORE_INDEX
from attnviz.train.finetune.data_files import Row, read_rows, rows_of
from attnviz.train.settings import FinetuneWork, Schedule
from attnviz.train.training_setup import Batch, LabelAlignment, ProbeExample, shuffled

MASKED = 0.15  # share of tokens to guess (Devlin et al. 2018), of them 80% hidden, 10% replaced
HELD_OUT_EXAMPLES = 256  # at most; an evaluation should take less time than the training around it
EVALUATED_AT_ONCE = 8
PROBE_TOKENS = 24
MASK_SEED = 2**31

Draw = Callable[[Sequence[int]], Batch]


@dataclass(frozen=True)
class Data:
    """Tokenised data, as `TrainingSetup` holds it."""

    draw: Draw
    held_out: tuple[Batch, ...]
    probe: ProbeExample
    predicts: LabelAlignment


def columns_of(work: FinetuneWork) -> tuple[str, ...]:
    """The columns that an objective reads."""
    return {
        "causal": (work.text_column,),
        "masked": (work.text_column,),
        "classify": (work.text_column, work.label_column),
        "seq2seq": (work.source_column, work.target_column),
    }[work.objective]


def read(work: FinetuneWork, folder: Path) -> tuple[Row, ...]:
    """The rows of the work's data; a bare file name lies in the job's folder.

    Raises:
        AttnVizError: what is wrong, with its line.
    """
    return read_rows(folder / Path(work.data).expanduser(), columns_of(work))


def check(work: FinetuneWork, data: bytes) -> int:
    """Reads an uploaded file as the work would; its number of rows.

    Raises:
        AttnVizError: what is wrong, with its line.
    """
    rows = rows_of(Path(work.data).name, data, columns_of(work))
    if work.objective == "classify":
        classes(rows, work)
    return len(rows)


def classes(rows: Sequence[Row], work: FinetuneWork) -> tuple[str, ...]:
    """The labels that occur, in order.

    Raises:
        AttnVizError: there is only one.
    """
    labels = sorted({row.values[work.label_column].strip() for row in rows})
    if len(labels) < 2:
        raise AttnVizError(
            f"All {len(rows)} rows, from line {rows[0].line} on, have the label '{labels[0]}'.",
            "Classification needs at least two labels.",
        )
    return tuple(labels)


def tokenised(
    rows: Sequence[Row],
    work: FinetuneWork,
    schedule: Schedule,
    tokenizer: PreTrainedTokenizerBase,
    longest: int | None,
) -> Data:
    """Batches of the rows.

    Args:
        longest: tokens that the model takes, None for any number.

    Raises:
        AttnVizError: too few of them, or no token to mask with.
    """
    length = min(work.length, longest or work.length)
    if work.objective in ("causal", "masked"):
        return _running_text(rows, work, schedule, tokenizer, length)
    return _pairs(rows, work, schedule, tokenizer, length)


def _running_text(
    rows: Sequence[Row],
    work: FinetuneWork,
    schedule: Schedule,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> Data:
    """Texts one after the other, cut into pieces of equal length."""
    masked = work.objective == "masked"
    if masked and tokenizer.mask_token_id is None:
        raise AttnVizError("This tokenizer has no mask token.", "Choose another objective.")
    ids: list[int] = []
    for row in rows:
        ids += tokenizer(row.values[work.text_column], add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        if tokenizer.eos_token_id is not None and len(rows) > 1 and not masked:
            ids.append(tokenizer.eos_token_id)
    front = [i for i in (tokenizer.cls_token_id,) if masked and i is not None]
    back = [i for i in (tokenizer.sep_token_id,) if masked and i is not None]
    body = length - len(front) - len(back)
    n = len(ids) // body
    if n < 2:
        raise AttnVizError(
            f"The data has {len(ids):,} tokens, too few for two examples of {length}.",
            "Add text, or choose a smaller length.",
        )
    pieces = torch.tensor(ids[: n * body]).view(n, body)  # (n, body)
    ends = [torch.tensor(e, dtype=torch.long).expand(n, -1) for e in (front, back)]
    whole = torch.cat([ends[0], pieces, ends[1]], dim=1)  # (n, length)
    kept = _n_held_out(n, work.held_out)
    train, rest = whole[: n - kept], whole[n - kept :]
    probe_ids = (rest if kept else train)[0, len(front) : len(front) + PROBE_TOKENS].tolist()
    if masked:
        probe_ids[len(probe_ids) // 2] = tokenizer.mask_token_id
    probe = ProbeExample(str(tokenizer.decode(probe_ids)).strip())
    plain = shuffled({"input_ids": train}, schedule.seed)

    def draw(indices: Sequence[int]) -> Batch:
        batch = plain(indices)["input_ids"]
        if not masked:
            return {"input_ids": batch, "labels": batch.clone()}
        seed = schedule.seed * 1_000_003_000 + indices[0]
        return hide(batch, tokenizer, torch.Generator().manual_seed(seed))

    generator = torch.Generator().manual_seed(MASK_SEED)
    held_out = tuple(
        hide(part, tokenizer, generator) if masked else {"input_ids": part, "labels": part.clone()}
        for part in rest[:HELD_OUT_EXAMPLES].split(EVALUATED_AT_ONCE)
    )
    return Data(draw, held_out if kept else (), probe, "same" if masked else "next")


def hide(ids: Tensor, tokenizer: PreTrainedTokenizerBase, generator: torch.Generator) -> Batch:
    """(B, n) ids with some to be guessed; never a special token, always at least one a row."""
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chance = torch.rand(ids.shape, generator=generator).masked_fill(special, 2.0)
    guessed = chance < MASKED
    guessed[torch.arange(len(ids)), chance.argmin(1)] = True
    how = torch.rand(ids.shape, generator=generator)
    others = torch.randint(0, len(tokenizer), ids.shape, generator=generator)
    shown = ids.masked_fill(guessed & (how < 0.8), tokenizer.mask_token_id)  # type: ignore[arg-type]
    shown = torch.where(guessed & (how >= 0.9), others, shown)
    return {"input_ids": shown, "labels": ids.masked_fill(~guessed, IGNORE_INDEX)}


def _pairs(
    rows: Sequence[Row],
    work: FinetuneWork,
    schedule: Schedule,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> Data:
    """One example a row: a text and its class, or a source and its target."""
    first, second = columns_of(work)
    order = list(range(len(rows)))
    random.Random(schedule.seed).shuffle(order)
    kept = _n_held_out(len(rows), work.held_out)
    if len(rows) - kept < 2:
        raise AttnVizError(f"There are only {len(rows)} rows.", "Add some examples.")
    rest, train = order[:kept], order[kept:]
    names = classes(rows, work) if work.objective == "classify" else ()
    if names:
        _check_classes(rows, train, work, names)

    def batch_of(places: Sequence[int]) -> Batch:
        batch = _padded(tokenizer, [rows[i].values[first] for i in places], length)
        answers = [rows[i].values[second] for i in places]
        if names:
            batch["labels"] = torch.tensor([names.index(answer.strip()) for answer in answers])
        else:
            target = _padded(tokenizer, answers, length, as_target=True)
            hidden = target["attention_mask"] == 0
            batch["labels"] = target["input_ids"].masked_fill(hidden, IGNORE_INDEX)
        return batch

    places = shuffled({"at": torch.tensor(train)}, schedule.seed)

    def draw(indices: Sequence[int]) -> Batch:
        return batch_of(places(indices)["at"].tolist())

    looked_at = rest[:HELD_OUT_EXAMPLES]
    parts = range(0, len(looked_at), EVALUATED_AT_ONCE)
    held_out = tuple(batch_of(looked_at[i : i + EVALUATED_AT_ONCE]) for i in parts)
    shown = rows[rest[0] if rest else train[0]].values
    probe = ProbeExample(shown[first], None if names else shown[second])
    return Data(draw, held_out, probe, "class" if names else "same")


def _check_classes(
    rows: Sequence[Row], train: Sequence[int], work: FinetuneWork, names: tuple[str, ...]
) -> None:
    seen = {rows[i].values[work.label_column].strip() for i in train}
    for name in names:
        if name not in seen:
            line = next(r.line for r in rows if r.values[work.label_column].strip() == name)
            raise AttnVizError(
                f"The label '{name}' (line {line}) has too few rows: all are held out.",
                "Add rows with it, hold out less, or choose another seed.",
            )


def _padded(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int, as_target: bool = False
) -> Batch:
    given: dict[str, Any] = {"text_target" if as_target else "text": texts}
    encoded = tokenizer(
        **given, truncation=True, max_length=length, padding=True, return_tensors="pt"
    )
    return {name: encoded[name] for name in tokenizer.model_input_names if name in encoded}


def _n_held_out(n: int, share: float) -> int:
    return min(n - 1, max(1, round(n * share))) if share > 0 else 0
