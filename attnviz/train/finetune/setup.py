"""A fine-tuning's setup: the person's data and a copy of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from attnviz.errors import AttnVizError
from attnviz.models.loader import load
from attnviz.models.text_encoding import longest_input
from attnviz.train.finetune.adapting import choose, for_objective, n_trainable
from attnviz.train.finetune.examples import classes, read, tokenised
from attnviz.train.settings import FinetuneWork, JobSettings
from attnviz.train.training_setup import ProbeExample, TrainingSetup

_WAYS = {"lora": "LoRA", "last": "last layers", "full": "all weights"}


def prepare(settings: JobSettings, folder: Path) -> TrainingSetup:
    """Reads the data first, since that fails soonest, then loads the model into this process.

    Args:
        folder: the job's, where a data file without a path of its own lies.

    Raises:
        AttnVizError: the data, the model or their combination cannot be.
    """
    work = settings.work
    assert isinstance(work, FinetuneWork)
    rows = read(work, folder)
    labels = classes(rows, work) if work.objective == "classify" else ()
    loaded = load(work.model, device="cpu", dtype="float32")
    if loaded.tokenizer is None:
        raise AttnVizError(f"{loaded.name} reads no text.", "Choose a language model.")
    tokenizer = loaded.tokenizer
    torch.manual_seed(settings.schedule.seed)  # a new head and an adapter begin at random
    module, new = for_objective(loaded, work, labels)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if module.config.get_text_config().pad_token_id is None:
        module.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    data = tokenised(rows, work, settings.schedule, tokenizer, longest_input(module, tokenizer))
    module = choose(module, work, new)
    n_learn, n = n_trainable(module)
    probe = data.probe
    if settings.probe:
        probe = ProbeExample(settings.probe, settings.probe_target or None)
    if data.predicts == "class" or work.objective != "seq2seq":
        probe = replace(probe, target=None)
    return TrainingSetup(
        module=module,
        tokenizer=tokenizer,
        processor=None,
        draw=data.draw,
        held_out=data.held_out,
        probe=probe,
        predicts=data.predicts,
        notes=(f"{n_learn:,} of {n:,} numbers learn.",),
        about={
            "title": settings.title,
            "description": f"{loaded.name}, fine-tuned ({_WAYS[work.method]}).",
        },
    )
