"""transformers' Trainer with this package's data order, evaluation and checkpoints."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainingArguments

from attnviz.train.checkpoint_files import (
    RESUME_FOLDER,
    folder_bytes,
    load_optimizer,
    load_rng_state,
    save_model,
    save_optimizer,
    save_rng_state,
    write_folder,
)
from attnviz.train.evaluation import evaluate
from attnviz.train.job_callback import JobCallback
from attnviz.train.settings import JobSettings
from attnviz.train.training_errors import loss_not_finite
from attnviz.train.training_setup import TrainingDataset, TrainingSetup, identity_collator, n_tokens

# transformers' names of the schedules; all of them start with a warm-up
_DECAYS = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
_STATE_FILE = "trainer_state.json"  # the name under which transformers looks for it
_CLOCK_FILE = "clock.json"  # seconds of running so far


class JobTrainer(Trainer):
    """Trains a job's model, from the start or from a checkpoint."""

    def __init__(self, folder: Path, settings: JobSettings, setup: TrainingSetup) -> None:
        """
        Args:
            folder: the job's.
        """
        arguments = _arguments(folder, settings)
        schedule = settings.schedule
        examples_per_step = schedule.batch_size * schedule.accumulation * arguments.world_size
        self.job_callback = JobCallback(folder, settings, setup, arguments.process_index == 0)
        self._use_cache = getattr(setup.base.config, "use_cache", None)
        super().__init__(
            model=setup.module,
            args=arguments,
            data_collator=identity_collator,
            train_dataset=TrainingDataset(setup.get_batch, schedule.steps * examples_per_step),
            callbacks=[self.job_callback],
        )
        self.remove_callback(PrinterCallback)
        # a batch's loss is the mean over its tokens, and a step's gradient the mean over batches
        self.model_accepts_loss_kwargs = False
        self._folder = folder
        self._settings = settings
        self._setup = setup

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """One batch forward and backward."""
        self.job_callback.count_tokens(n_tokens(inputs))
        return super().training_step(model, inputs, num_items_in_batch)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss and accuracy on the held-out batches; every process computes all of them."""
        if not self._setup.held_out:
            return {}
        score = evaluate(
            self._setup.module,
            self._setup.held_out,
            self._setup.label_alignment,
            self.args.device,
        )
        metrics = {
            "eval_loss": score.loss,
            "eval_accuracy": score.accuracy,
            "eval_exact": score.exact,
        }
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it would iterate over all parameters at each step."""
        return 0

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        step = self.state.global_step
        module = self._setup.module
        if not all(bool(torch.isfinite(p).all()) for p in module.parameters() if p.requires_grad):
            raise loss_not_finite(step, self._settings.schedule.learning_rate)
        parent = self._folder / "checkpoint"
        other_ranks = parent / ".ranks"  # their random states, until rank 0 has copied them
        rank = self.args.process_index
        if rank > 0:
            other_ranks.mkdir(parents=True, exist_ok=True)
            save_rng_state(other_ranks, rank)
        _wait_for_all_ranks()
        if rank == 0:
            older = sorted(parent.glob("step-*"))
            if older:
                _require_disk_space(folder_bytes(older[-1]), parent)
            target = parent / f"step-{step:07d}"
            write_folder(target, self._fill_checkpoint)
            for folder in older:
                if folder != target:
                    shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(other_ranks, ignore_errors=True)
        _wait_for_all_ranks()

    def save(self, module: nn.Module, folder: Path) -> None:
        """Writes the model or adapter, with the `use_cache` that its configuration had at first."""
        config = self._setup.base.config
        current = getattr(config, "use_cache", None)
        if self._use_cache is not None:  # the Trainer sets it to False
            config.use_cache = self._use_cache
        try:
            save_model(module, self._setup, folder)
        finally:
            if self._use_cache is not None:
                config.use_cache = current

    def _fill_checkpoint(self, folder: Path) -> None:
        self.save(self._setup.module, folder)
        resume = folder / RESUME_FOLDER
        resume.mkdir()
        assert self.optimizer is not None and self.lr_scheduler is not None
        save_optimizer(resume, self.optimizer.state_dict(), self.lr_scheduler.state_dict())
        save_rng_state(resume, 0)
        for path in (self._folder / "checkpoint" / ".ranks").glob("random-*"):
            shutil.copy(path, resume)
        self.state.log_history = []  # the events have it, and it would grow
        self.state.save_to_json(str(resume / _STATE_FILE))
        seconds = json.dumps(self.job_callback.total_seconds)
        (resume / _CLOCK_FILE).write_text(seconds, encoding="utf-8")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Reads the clock alone: `attnviz.train.run_job` has loaded the weights already."""
        clock = Path(resume_from_checkpoint) / _CLOCK_FILE
        self.job_callback.earlier_seconds = float(json.loads(clock.read_text(encoding="utf-8")))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        optimizer, scheduler = load_optimizer(Path(checkpoint))
        self.optimizer.load_state_dict(optimizer)
        self.lr_scheduler.load_state_dict(scheduler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_rng_state(Path(checkpoint), self.args.process_index)

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Nothing to load: full precision needs no gradient scaler."""


def _arguments(folder: Path, settings: JobSettings) -> TrainingArguments:
    schedule = settings.schedule
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.steps,
        per_device_train_batch_size=schedule.batch_size,
        gradient_accumulation_steps=schedule.accumulation,
        learning_rate=schedule.learning_rate,
        warmup_steps=min(schedule.warmup, schedule.steps // 2),
        lr_scheduler_type=_DECAYS[schedule.decay],
        weight_decay=schedule.weight_decay,
        adam_beta2=schedule.beta2,
        max_grad_norm=schedule.max_grad_norm,
        optim="adamw_torch",
        seed=schedule.seed,
        use_cpu=settings.device == "cpu",
        train_sampling_strategy="sequential",  # the dataset is ordered already
        logging_strategy="no",
        eval_strategy="no",
        save_strategy="no",
        logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
    )


def _require_disk_space(n_bytes: int, folder: Path) -> None:
    """Raises the error of a full disk before it is full, for the sake of other programs."""
    if shutil.disk_usage(folder).free < n_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _wait_for_all_ranks() -> None:
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()
