"""Runs a job in this process, from its settings to its result."""

from __future__ import annotations

import os
import shutil
import traceback
from dataclasses import replace
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from attnviz.train import events, finetune, snapshots, tasks
from attnviz.train.checkpoint_files import TRAINING, write_folder
from attnviz.train.job import REQUEST_FILE, Job
from attnviz.train.settings import JobSettings, TaskWork
from attnviz.train.tasks.task import prepare as prepare_task
from attnviz.train.trainer import Training
from attnviz.train.training_errors import explain
from attnviz.train.training_setup import TrainingSetup

SPARE = "spare"
SPARE_BYTES = 64 * 1024


def run(job: Job) -> int:
    """Trains, or goes on training; 0 unless it failed. What happens is in the job's events."""
    main = int(os.environ.get("RANK", "0")) == 0
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    step = 0
    try:
        settings = job.settings
        resumed = _continued(job)
        step = snapshots.step_of(resumed) if resumed else 0
        if main:
            _begin(job, step)
        setup = prepare(settings, job.folder)
        if resumed:
            setup = replace(setup, module=reloaded(setup, resumed))
        training = Training(job.folder, settings, setup)
        training.train(str(resumed / TRAINING) if resumed else None)
        step = training.state.global_step
        if main:
            _end(job, training, setup, step)
    except Exception as error:
        traceback.print_exc()
        if main:
            step = max([step, *(e["step"] for e in job.events() if e["event"] == "step")])
            sentence = str(explain(error))
            (job.folder / SPARE).unlink(missing_ok=True)  # room for the sentence on a full disk
            events.append(job.folder, "state", step, state="failed", sentence=sentence)
        return 1
    return 0


def prepare(settings: JobSettings, folder: Path) -> TrainingSetup:
    """What the job's work is made of.

    Args:
        folder: the job's, where a data file without a path of its own lies.

    Raises:
        AttnVizError: settings or data that cannot be.
    """
    work = settings.work
    if isinstance(work, TaskWork):
        return prepare_task(tasks.find(work.task), settings)
    return finetune.prepare(settings, folder)


def reloaded(setup: TrainingSetup, checkpoint: Path) -> torch.nn.Module:
    """The module with a checkpoint's weights, the same parameters being trained."""
    module = setup.module
    if (checkpoint / "adapter_config.json").is_file():
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(module, load_file(checkpoint / "adapter_model.safetensors"))
        return module
    again = type(module).from_pretrained(
        checkpoint,
        local_files_only=True,
        trust_remote_code=False,
        dtype=torch.float32,
        attn_implementation=module.config._attn_implementation,
    )
    trained = {name: p.requires_grad for name, p in module.named_parameters()}
    for name, parameter in again.named_parameters():
        parameter.requires_grad_(trained[name])
    return again


def _continued(job: Job) -> Path | None:
    """The checkpoint to go on from, if it holds what that takes."""
    newest = job.checkpoint
    return newest if newest and (newest / TRAINING).is_dir() else None


def _begin(job: Job, step: int) -> None:
    if any(e["event"] in ("step", "snapshot") for e in job.events()):
        events.append(job.folder, "resumed", step)
        for path in job.snapshots():
            if snapshots.step_of(path) > step:
                path.unlink(missing_ok=True)
    for draft in (job.folder / "checkpoint").glob(".draft-*"):
        shutil.rmtree(draft, ignore_errors=True)
    (job.folder / SPARE).write_bytes(b"\0" * SPARE_BYTES)
    events.append(job.folder, "state", step, state="running", sentence="")


def _end(job: Job, training: Training, setup: TrainingSetup, step: int) -> None:
    state, sentence = training.job_callback.ending, training.job_callback.sentence
    newest = job.checkpoint
    if state != "paused" and newest and not (newest / "config.json").is_file():
        merged = setup.module.merge_and_unload()
        write_folder(job.folder / "model", lambda folder: training.save(merged, folder))
    if state == "finished" and newest:  # nothing will go on from here
        shutil.rmtree(newest / TRAINING, ignore_errors=True)
    (job.folder / REQUEST_FILE).unlink(missing_ok=True)
    (job.folder / SPARE).unlink(missing_ok=True)
    events.append(job.folder, "state", step, state=state, sentence=sentence)
