"""The Trainer's callback: writes events and snapshots, obeys requests and limits."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from attnviz.models.loaded_model import wrap_module
from attnviz.trace import Model, Trace
from attnviz.train import events, snapshots
from attnviz.train.checkpoint_files import folder_bytes
from attnviz.train.job import State, pending_request
from attnviz.train.settings import JobSettings
from attnviz.train.training_errors import loss_not_finite
from attnviz.train.training_setup import TrainingSetup

MB = 2**20

# What rank 0 decides at a logged step, as the index that it sends to the other ranks.
_DECISIONS: tuple[State, ...] = ("running", "paused", "cancelled", "stopped")


class JobCallback(TrainerCallback):
    """Decides when to log, evaluate, save and stop, and records it in the job's folder.

    Attributes:
        final_state: the state that the training ends in: "finished", or why it ended early.
        sentence: explains that state to the person.
        earlier_seconds: of running before the job was resumed, see `total_seconds`.
    """

    def __init__(
        self, folder: Path, settings: JobSettings, setup: TrainingSetup, is_main: bool
    ) -> None:
        """
        Args:
            folder: the job's.
            is_main: whether this process writes to the folder; one of several does.
        """
        self.final_state: State = "finished"
        self.sentence = ""
        self.earlier_seconds = 0.0
        self._folder = folder
        self._settings = settings
        self._setup = setup
        self._is_main = is_main
        self._schedule = settings.schedule
        self._tokens = 0  # since the last log, of this process
        self._step_seconds = 0.0  # since the last log, of training steps alone
        self._step_start = self._start = time.monotonic()
        self._disk_checked = False  # since the last snapshot or checkpoint
        self._snapshot_at = settings.schedule.snapshot_at

    @property
    def total_seconds(self) -> float:
        """Seconds of running, over all runs of a resumed job."""
        return self.earlier_seconds + time.monotonic() - self._start

    def count_tokens(self, n: int) -> None:
        """Adds a batch's tokens, for the throughput."""
        self._tokens += n

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._start = time.monotonic()
        if self._is_main and state.global_step == 0:
            probe = self._setup.probe
            events.append(self._folder, "probe", 0, text=probe.text, target=probe.target)
        if state.global_step == 0 and 0 in self._snapshot_at:
            self._record_snapshot(0)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._step_start = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._step_seconds += time.monotonic() - self._step_start
        step, is_last = state.global_step, state.global_step >= self._schedule.steps
        control.should_log = is_last or step % self._schedule.log_every == 0
        control.should_evaluate = step in self._schedule.evaluate_at
        control.should_save = step in self._schedule.checkpoint_at
        if step in self._snapshot_at:
            self._record_snapshot(step)
        if control.should_log and not is_last:
            decision = self._shared_decision(step, args.device)
            if decision != "running":
                self.final_state = decision
                if self._snapshot_at and step not in self._snapshot_at:
                    self._record_snapshot(step)  # of the same weights as the last checkpoint
                control.should_save = control.should_training_stop = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        step, loss = state.global_step, logs["loss"]
        tokens_per_second = self._tokens * args.world_size / max(self._step_seconds, 1e-9)
        self._tokens, self._step_seconds = 0, 0.0
        if self._is_main:
            events.append(
                self._folder,
                "step",
                step,
                loss=loss,
                learning_rate=logs["learning_rate"],
                tokens_per_second=tokens_per_second,
                memory=_memory_bytes(args.device),
            )
        if not math.isfinite(loss):
            raise loss_not_finite(step, self._schedule.learning_rate)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        if self._is_main and metrics:
            values = {name.removeprefix("eval_"): value for name, value in metrics.items()}
            events.append(self._folder, "evaluation", state.global_step, **values)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._disk_checked = False
        if self._is_main:
            name = f"step-{state.global_step:07d}"
            events.append(self._folder, "checkpoint", state.global_step, name=name)

    def _record_snapshot(self, step: int) -> None:
        if not self._is_main:
            return
        path = snapshots.path_of(self._folder, step)
        snapshots.write(path, step, trace_probe(self._setup))
        events.append(self._folder, "snapshot", step, file=path.name)
        self._disk_checked = False

    def _shared_decision(self, step: int, device: torch.device) -> State:
        """Rank 0's decision whether to go on, the same for all ranks."""
        index = _DECISIONS.index(self._decision(step)) if self._is_main else 0
        if dist.is_initialized() and dist.get_world_size() > 1:
            shared = torch.tensor([index], device=device)
            dist.broadcast(shared, src=0)
            index = int(shared[0])
        return _DECISIONS[index]

    def _decision(self, step: int) -> State:
        request = pending_request(self._folder)
        if request in ("pause", "cancel"):
            return "paused" if request == "pause" else "cancelled"
        return "stopped" if self._is_over_limit(step) else "running"

    def _is_over_limit(self, step: int) -> bool:
        limits = self._settings.limits
        if limits.minutes is not None and self.total_seconds > limits.minutes * 60:
            self.sentence = (
                f"The time limit of {limits.minutes:g} minutes was reached at step {step}. "
                "Resume with a higher one to go on."
            )
            return True
        if limits.disk_mb is not None and not self._disk_checked:
            self._disk_checked = True
            used = folder_bytes(self._folder) / MB
            if used > limits.disk_mb:
                self.sentence = (
                    f"The job's folder has {used:,.0f} MB and its limit is {limits.disk_mb:,.0f}. "
                    "Resume with a higher one, or train again with fewer snapshots."
                )
                return True
        return False


def trace_probe(setup: TrainingSetup) -> Trace:
    """A trace of the probe with the current weights, without dropout; restores the mode."""
    base, probe = setup.base, setup.probe
    was_training = base.training
    base.eval()
    try:
        model = Model(wrap_module(base, setup.tokenizer, setup.processor))
        if probe.image is not None:
            return model.trace(image=probe.image, keep=("qkv",))
        return model.trace(probe.text, target=probe.target, keep=("qkv",))
    finally:
        base.train(was_training)


def _memory_bytes(device: torch.device) -> int:
    """The process's memory, or the peak that was allocated on a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
