"""The training setup of a fine-tuning: the person's data and a copy of the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from attnviz.errors import AttnVizError
from attnviz.models.loader import load
from attnviz.models.text_encoding import longest_input
from attnviz.train.finetune.dataset import class_labels, read
from attnviz.train.finetune.objectives import model_for_objective
from attnviz.train.finetune.pairs import pair_data
from attnviz.train.finetune.running_text import text_data
from attnviz.train.finetune.trainable import select_trainable
from attnviz.train.settings import FinetuneWork, JobSettings
from attnviz.train.training_setup import ProbeExample, TrainingSetup

_METHODS = {"lora": "LoRA", "last": "last layers", "full": "all weights"}


def prepare(settings: JobSettings, folder: Path) -> TrainingSetup:
    """Reads the data first, since that fails soonest, then loads the model into this process.

    Args:
        folder: the job's, where a relative path of the data starts.

    Raises:
        AttnVizError: the data or the model is invalid, or they don't fit together.
    """
    work = settings.work
    assert isinstance(work, FinetuneWork)
    rows = read(work, folder)
    labels = class_labels(rows, work) if work.objective == "classify" else ()
    loaded = load(work.model, device="cpu", dtype="float32")
    if loaded.tokenizer is None:
        raise AttnVizError(f"{loaded.name} cannot read text.", "Choose a language model.")
    tokenizer = loaded.tokenizer
    torch.manual_seed(settings.schedule.seed)  # of a new head's and an adapter's initial weights
    module, new = model_for_objective(loaded, work, labels)
    _set_padding(module, tokenizer)
    longest = longest_input(module, tokenizer)
    make_data = text_data if work.objective in ("causal", "masked") else pair_data
    length = min(work.length, longest or work.length)
    data = make_data(rows, work, settings.schedule, tokenizer, length)
    probe = data.probe
    if settings.probe:
        probe = ProbeExample(settings.probe, settings.probe_target or None)
    if work.objective != "seq2seq":
        probe = replace(probe, target=None)
    return TrainingSetup(
        module=select_trainable(module, work, new),
        tokenizer=tokenizer,
        processor=None,
        get_batch=data.get_batch,
        held_out=data.held_out,
        probe=probe,
        label_alignment=data.label_alignment,
        catalog_entry={
            "title": settings.title,
            "description": f"{loaded.name}, fine-tuned ({_METHODS[work.method]}).",
        },
    )


def _set_padding(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Chooses a padding token where the tokenizer or the model has none."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if module.config.get_text_config().pad_token_id is None:
        module.config.get_text_config().pad_token_id = tokenizer.pad_token_id
