"""A task: data, a small transformer, and a schedule with which it is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from attnviz.errors import AttnVizError
from attnviz.models.text_encoding import longest_input
from attnviz.train.settings import JobSettings, Schedule, TaskWork
from attnviz.train.tasks.transformer import build_transformer
from attnviz.train.tasks.vocabulary import SPECIAL_TOKENS
from attnviz.train.training_setup import (
    Batch,
    GetBatch,
    LabelAlignment,
    ProbeExample,
    TrainingSetup,
)


@dataclass(frozen=True)
class TaskData:
    """The data of a task with given options.

    Attributes:
        tokenizer: None for images.
        get_batch, held_out, label_alignment: see `TrainingSetup`.
        probe: the default probe example, which is held out.
        module: the model, if it isn't one of `attnviz.nn`.
        make_probe: (setting ``probe``) -> example; None where the setting is the text itself.
    """

    tokenizer: PreTrainedTokenizerFast | None
    get_batch: GetBatch
    held_out: tuple[Batch, ...]
    probe: ProbeExample
    label_alignment: LabelAlignment = "next"
    module: PreTrainedModel | None = None
    processor: Any | None = None
    make_probe: Callable[[str], ProbeExample] | None = None


@dataclass(frozen=True)
class Task:
    """A task that a small transformer can learn.

    Attributes:
        name: in job.json.
        title, description: for the person.
        goal: the accuracy on held-out data that the defaults reach; None where there is no bound.
        measure: what the goal is compared with, "exact" (whole answers) or "accuracy" (tokens).
        options: of the data, with their defaults.
        model: options of the transformer, over `TransformerConfig`'s defaults.
        schedule: the default schedule.
        make_data: (options, model options, schedule) -> the data.
    """

    name: str
    title: str
    description: str
    goal: float | None
    measure: str
    options: Mapping[str, Any]
    model: Mapping[str, Any]
    schedule: Schedule
    make_data: Callable[[dict[str, Any], dict[str, Any], Schedule], TaskData] = field(repr=False)


def settings_for(
    task: Task,
    *,
    options: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    **rest: Any,
) -> JobSettings:
    """Settings of a job that learns ``task``, with its defaults.

    Args:
        options, model: over the task's own.
        rest: other fields of `JobSettings`.
    """
    work = TaskWork(task.name, dict(options or {}), dict(model or {}))
    return JobSettings(**{"title": task.title, "work": work, "schedule": task.schedule, **rest})


def prepare(task: Task, settings: JobSettings) -> TrainingSetup:
    """The setup of a task's job: its data and a new transformer.

    Raises:
        AttnVizError: an unknown option, a probe with characters outside of the task's vocabulary,
            or a configuration that cannot learn this.
    """
    work = settings.work
    assert isinstance(work, TaskWork)
    if unknown := sorted(set(work.options) - set(task.options)):
        raise AttnVizError(
            f"The task {task.name} has no option {unknown[0]!r}.",
            f"It has {', '.join(task.options) or 'none'}.",
        )
    options = {**task.options, **work.options}
    model_options = {"seed": settings.schedule.seed, **task.model, **work.model}
    data = task.make_data(options, model_options, settings.schedule)
    probe = _probe(data, settings)
    module = data.module or build_transformer(model_options, data.tokenizer)
    if data.tokenizer is not None:
        _check_probe(probe, module, data.tokenizer)
    return TrainingSetup(
        module=module,
        tokenizer=data.tokenizer,
        processor=data.processor,
        get_batch=data.get_batch,
        held_out=data.held_out,
        probe=probe,
        label_alignment=data.label_alignment,
        catalog_entry={"title": settings.title, "description": task.description},
    )


def probe_example(task: Task, settings: JobSettings) -> ProbeExample:
    """The probe of a task's job.

    Raises:
        AttnVizError: as `prepare`.
    """
    work = settings.work
    assert isinstance(work, TaskWork)
    model_options = {"seed": settings.schedule.seed, **task.model, **work.model}
    data = task.make_data({**task.options, **work.options}, model_options, settings.schedule)
    return _probe(data, settings)


def _probe(data: TaskData, settings: JobSettings) -> ProbeExample:
    if not settings.probe:
        return data.probe
    if data.make_probe is not None:
        return data.make_probe(settings.probe)
    return ProbeExample(settings.probe, settings.probe_target or None)


def _check_probe(
    probe: ProbeExample, module: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Raises AttnVizError if the probe is too long or has unknown characters."""
    longest = longest_input(module, tokenizer)
    for text in filter(None, (probe.text, probe.target)):
        encoded = tokenizer(text, return_offsets_mapping=True)
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        for i, (start, end) in zip(ids, offsets, strict=True):
            if i == tokenizer.unk_token_id:
                known = " ".join(sorted(set(tokenizer.get_vocab()) - set(SPECIAL_TOKENS)))
                raise AttnVizError(
                    f"The example has {text[start:end]!r}, which this task does not know.",
                    f"Use only: {known[:200]}",
                )
        if longest is not None and len(ids) > longest:
            raise AttnVizError(
                f"The example has {len(ids):,} tokens, and the transformer reads {longest:,}.",
                "Shorten it.",
            )
