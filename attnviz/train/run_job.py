"""Runs a job in this process, from its settings to the trained model."""

from __future__ import annotations

import os
import shutil
import traceback
from dataclasses import replace
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from attnviz.train import events, finetune, snapshots, tasks
from attnviz.train.checkpoint_files import RESUME_FOLDER, write_folder
from attnviz.train.job import REQUEST_FILE, Job
from attnviz.train.settings import JobSettings, TaskWork
from attnviz.train.tasks.task import prepare as prepare_task
from attnviz.train.trainer import JobTrainer
from attnviz.train.training_errors import explain
from attnviz.train.training_setup import TrainingSetup

# A file that is deleted to make room for the last event when the disk is full.
RESERVE_FILE = "spare"
RESERVE_BYTES = 64 * 1024


def run(job: Job) -> int:
    """Starts or resumes the training; returns 0 unless it fails. Its events say what happened."""
    is_main = int(os.environ.get("RANK", "0")) == 0
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    step = 0
    try:
        settings = job.settings
        checkpoint = _resumable_checkpoint(job)
        step = snapshots.step_of(checkpoint) if checkpoint else 0
        if is_main:
            _record_start(job, step)
        setup = prepare(settings, job.folder)
        if checkpoint:
            setup = replace(setup, module=load_weights(setup, checkpoint))
        trainer = JobTrainer(job.folder, settings, setup)
        trainer.train(str(checkpoint / RESUME_FOLDER) if checkpoint else None)
        step = trainer.state.global_step
        if is_main:
            _record_end(job, trainer, setup, step)
    except Exception as error:
        traceback.print_exc()
        if is_main:
            step = max([step, *(e["step"] for e in job.events() if e["event"] == "step")])
            (job.folder / RESERVE_FILE).unlink(missing_ok=True)
            events.append(job.folder, "state", step, state="failed", sentence=str(explain(error)))
        return 1
    return 0


def prepare(settings: JobSettings, folder: Path) -> TrainingSetup:
    """The training setup of a job.

    Args:
        folder: the job's, where a relative path of the data starts.

    Raises:
        AttnVizError: the settings or the data are invalid.
    """
    work = settings.work
    if isinstance(work, TaskWork):
        return prepare_task(tasks.find(work.task), settings)
    return finetune.prepare(settings, folder)


def load_weights(setup: TrainingSetup, checkpoint: Path) -> torch.nn.Module:
    """The setup's module with a checkpoint's weights; the same parameters are trainable."""
    module = setup.module
    if (checkpoint / "adapter_config.json").is_file():
        from peft import set_peft_model_state_dict
        from safetensors.torch import load_file

        set_peft_model_state_dict(module, load_file(checkpoint / "adapter_model.safetensors"))
        return module
    loaded = type(module).from_pretrained(
        checkpoint,
        local_files_only=True,
        trust_remote_code=False,
        dtype=torch.float32,
        attn_implementation=module.config._attn_implementation,
    )
    trainable = {name: p.requires_grad for name, p in module.named_parameters()}
    for name, parameter in loaded.named_parameters():
        parameter.requires_grad_(trainable[name])
    return loaded


def _resumable_checkpoint(job: Job) -> Path | None:
    """The newest checkpoint, if it has the state that resuming needs."""
    newest = job.checkpoint
    return newest if newest and (newest / RESUME_FOLDER).is_dir() else None


def _record_start(job: Job, step: int) -> None:
    """Discards what an interrupted run did after the checkpoint, and reports "running"."""
    if any(e["event"] in ("step", "snapshot") for e in job.events()):
        events.append(job.folder, "resumed", step)
        for path in job.snapshots():
            if snapshots.step_of(path) > step:
                path.unlink(missing_ok=True)
    for draft in (job.folder / "checkpoint").glob(".draft-*"):
        shutil.rmtree(draft, ignore_errors=True)
    (job.folder / RESERVE_FILE).write_bytes(b"\0" * RESERVE_BYTES)
    events.append(job.folder, "state", step, state="running", sentence="")


def _record_end(job: Job, trainer: JobTrainer, setup: TrainingSetup, step: int) -> None:
    """Merges an adapter into its base, removes what is no longer needed, reports the state."""
    state, sentence = trainer.job_callback.final_state, trainer.job_callback.sentence
    newest = job.checkpoint
    if state != "paused" and newest and not (newest / "config.json").is_file():
        merged = setup.module.merge_and_unload()
        write_folder(job.folder / "model", lambda folder: trainer.save(merged, folder))
    if state == "finished" and newest:  # it cannot be resumed any more
        shutil.rmtree(newest / RESUME_FOLDER, ignore_errors=True)
    (job.folder / REQUEST_FILE).unlink(missing_ok=True)
    (job.folder / RESERVE_FILE).unlink(missing_ok=True)
    events.append(job.folder, "state", step, state=state, sentence=sentence)
