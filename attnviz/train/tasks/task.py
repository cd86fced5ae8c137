"""What a task is, and the transformer that learns it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from attnviz.errors import AttnVizError
from attnviz.models.text_encoding import longest_input
from attnviz.nn import (
    AttentionConfig,
    TransformerConfig,
    TransformerForCausalLM,
    TransformerForSeq2SeqLM,
)
from attnviz.train.settings import JobSettings, Schedule, TaskWork
from attnviz.train.tasks.vocabulary import SPECIAL
from attnviz.train.training_setup import Batch, LabelAlignment, ProbeExample, TrainingSetup

HELD_OUT_BATCHES = 8
HELD_OUT_SEED = 2**31  # training seeds are below

# The transformer that most tasks begin with. Its tokens are as large as what the layers add to
# them: at the usual 0.02 they are drowned, and induction took five times as many steps.
SMALL = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "initializer_range": 0.5,
    "tie_word_embeddings": False,
}


@dataclass(frozen=True)
class TaskData:
    """A task's data, once its options are known.

    Attributes:
        tokenizer: None where images are read.
        draw, held_out: see `TrainingSetup`.
        probe: an example that is not trained on.
        module: the model, where it is not a transformer of ours.
        choose: a person's choice of the probe, where it is more than the text itself.
    """

    tokenizer: PreTrainedTokenizerFast | None
    draw: Callable[[Any], Batch]
    held_out: tuple[Batch, ...]
    probe: ProbeExample
    predicts: LabelAlignment = "next"
    module: PreTrainedModel | None = None
    processor: Any | None = None
    choose: Callable[[str], ProbeExample] | None = None


@dataclass(frozen=True)
class Task:
    """Something to learn.

    Attributes:
        name: in job.json. title, description: what a person reads.
        goal: the accuracy that the defaults reach on held-out data; None where there is no bound.
        measure: "exact" (whole answers) or "accuracy" (tokens): what the goal is about.
        options: of the data, with their defaults.
        model: of the transformer, over TransformerConfig's defaults.
        schedule: of the training.
        lesson: (options, model settings, schedule) -> the data.
    """

    name: str
    title: str
    description: str
    goal: float | None
    measure: str
    options: Mapping[str, Any]
    model: Mapping[str, Any]
    schedule: Schedule
    lesson: Callable[[dict[str, Any], dict[str, Any], Schedule], TaskData] = field(repr=False)


def settings_for(
    task: Task,
    *,
    options: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    **rest: Any,
) -> JobSettings:
    """A job that learns ``task``, its defaults filled in; ``rest`` goes to `JobSettings`."""
    work = TaskWork(task.name, dict(options or {}), dict(model or {}))
    return JobSettings(**{"title": task.title, "work": work, "schedule": task.schedule, **rest})


def prepare(task: Task, settings: JobSettings) -> TrainingSetup:
    """Data and a fresh transformer.

    Raises:
        AttnVizError: an unknown option, a probe that the task's vocabulary cannot write, or a
            configuration that cannot learn this.
    """
    work = settings.work
    assert isinstance(work, TaskWork)
    if unknown := sorted(set(work.options) - set(task.options)):
        raise AttnVizError(
            f"The task {task.name} has no option {unknown[0]!r}.",
            f"It has {', '.join(task.options) or 'none'}.",
        )
    options = {**task.options, **work.options}
    model = {"seed": settings.schedule.seed, **task.model, **work.model}
    lesson = task.lesson(options, model, settings.schedule)
    probe = lesson.probe
    if settings.probe and lesson.choose is not None:
        probe = lesson.choose(settings.probe)
    elif settings.probe:
        probe = ProbeExample(settings.probe, settings.probe_target or None)
    module = lesson.module or build(model, lesson.tokenizer)
    if lesson.tokenizer is not None:
        _check_probe(probe, module, lesson.tokenizer)
    return TrainingSetup(
        module=module,
        tokenizer=lesson.tokenizer,
        processor=lesson.processor,
        draw=lesson.draw,
        held_out=lesson.held_out,
        probe=probe,
        predicts=lesson.predicts,
        about={"title": settings.title, "description": task.description},
    )


def _check_probe(
    probe: ProbeExample, module: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Raises AttnVizError where the model cannot read the probe."""
    longest = longest_input(module, tokenizer)
    for text in filter(None, (probe.text, probe.target)):
        read = tokenizer(text, return_offsets_mapping=True)
        for i, (start, end) in zip(read["input_ids"], read["offset_mapping"], strict=True):
            if i == tokenizer.unk_token_id:
                known = " ".join(sorted(set(tokenizer.get_vocab()) - set(SPECIAL)))
                raise AttnVizError(
                    f"The example has {text[start:end]!r}, which this task does not know.",
                    f"Write it with: {known[:200]}",
                )
        if longest is not None and len(read["input_ids"]) > longest:
            raise AttnVizError(
                f"The example has {len(read['input_ids']):,} tokens, and the transformer reads "
                f"{longest:,}.",
                "Shorten it.",
            )


def build(model: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast | None) -> PreTrainedModel:
    """A transformer of ours for a tokenizer.

    Raises:
        AttnVizError: settings that contradict each other, or with which nothing is learned.
    """
    assert tokenizer is not None
    try:
        config = TransformerConfig(
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.bos_token_id,
            **model,
        )
    except TypeError as error:
        raise AttnVizError(f"The transformer has no such setting: {error}.") from error
    if config.architecture != "encoder" and config.mask == "none":
        raise AttnVizError(
            "Without a mask the decoder reads the answer it should find.",
            "Choose the mask causal, sliding or prefix.",
        )
    if config.architecture == "encoder-decoder":
        return TransformerForSeq2SeqLM(config)
    if config.architecture == "decoder":
        return TransformerForCausalLM(config)
    raise AttnVizError(
        "An encoder alone does not write answers.", "Choose a decoder for this task."
    )


def model_options_from_layer(layer: AttentionConfig, n_layers: int) -> dict[str, Any]:
    """A layer's settings, such as the Layer lab's, as model settings for a task."""
    values = {f.name: getattr(layer, f.name) for f in fields(layer)}
    values["attention_temperature"] = values.pop("temperature")
    if values["mask"] == "none":
        del values["mask"]  # the task's own: a decoder that sees everything learns nothing
    return {**values, "n_layers": n_layers}


def is_held_out(content: Tensor) -> Tensor:
    """(n,) which rows of (n, length) ids are kept for evaluation: one in eight, by their content.

    Decided by what an example is and not by chance, so that no held-out one is ever trained on.
    """
    powers = torch.tensor([pow(31, i, 65_521) for i in range(content.shape[1])])
    return (content * powers).sum(1) * 2_654_435_761 // 65_536 % 8 == 0


def sample_split(
    sample: Callable[[torch.Generator, int], Tensor],
    generator: torch.Generator,
    n: int,
    held_out: bool,
) -> Tensor:
    """(n, length): samples of the training part or of the held-out part."""
    kept: list[Tensor] = []
    found = 0
    while found < n:
        content = sample(generator, 2 * n if not held_out else 12 * n)
        content = content[is_held_out(content) == held_out]
        kept.append(content)
        found += len(content)
    return torch.cat(kept)[:n]


def held_out_batches(
    make: Callable[[torch.Generator, int], Batch], batch_size: int = 64
) -> tuple[Batch, ...]:
    """The same held-out batches for every training of a task."""
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    return tuple(make(generator, batch_size) for _ in range(HELD_OUT_BATCHES))
