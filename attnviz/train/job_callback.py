"""What watches a training: events, snapshots of the probe, requests and limits.

The loop knows nothing of screens. It calls these callbacks, and they write the job's folder.
"""

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
from attnviz.train.training_setup import ProbeExample, TrainingSetup

MB = 2**20

# Why a training ends before its last step, in the order in which ranks tell each other.
_ENDINGS: tuple[State, ...] = ("running", "paused", "cancelled", "stopped")


class JobCallback(TrainerCallback):
    """Decides when to log, look, save and stop, and writes what happened.

    Attributes:
        ending: the state that the training ends in: "finished", or why it ended early.
        sentence: what a person is told about it.
        seconds: of running before this sitting, see `total_seconds`.
    """

    def __init__(
        self, folder: Path, settings: JobSettings, setup: TrainingSetup, main: bool
    ) -> None:
        self.ending: State = "finished"
        self.sentence = ""
        self.seconds = 0.0
        self._folder = folder
        self._settings = settings
        self._setup = setup
        self._main = main
        self._schedule = settings.schedule
        self._tokens = 0
        self._working = 0.0  # seconds of steps since the last log
        self._step_began = self._began = time.monotonic()
        self._disk_checked = False
        self._snapshots = settings.schedule.snapshot_at

    @property
    def total_seconds(self) -> float:
        """Seconds of running in all sittings."""
        return self.seconds + time.monotonic() - self._began

    def saw(self, tokens: int) -> None:
        """Counts what one batch made the model work on."""
        self._tokens += tokens

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._began = time.monotonic()
        if self._main and state.global_step == 0:
            probe = self._setup.probe
            events.append(self._folder, "probe", 0, text=probe.text, target=probe.target)
        if state.global_step == 0 and 0 in self._snapshots:
            self._snapshot(0)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._step_began = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._working += time.monotonic() - self._step_began
        step, last = state.global_step, state.global_step >= self._schedule.steps
        control.should_log = last or step % self._schedule.log_every == 0
        control.should_evaluate = step in self._schedule.evaluate_at
        control.should_save = step in self._schedule.checkpoint_at
        if step in self._snapshots:
            self._snapshot(step)
        if control.should_log and not last:
            ending = self._decided(step, args.device)
            if ending != "running":
                self.ending = ending
                if self._snapshots and step not in self._snapshots:
                    self._snapshot(step)  # what the last checkpoint attends to
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
        rate = self._tokens * args.world_size / max(self._working, 1e-9)
        self._tokens, self._working = 0, 0.0
        if self._main:
            events.append(
                self._folder,
                "step",
                step,
                loss=loss,
                learning_rate=logs["learning_rate"],
                tokens_per_second=rate,
                memory=_memory(args.device),
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
        if self._main and metrics:
            values = {name.removeprefix("eval_"): value for name, value in metrics.items()}
            events.append(self._folder, "evaluation", state.global_step, **values)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._disk_checked = False
        if self._main:
            name = f"step-{state.global_step:07d}"
            events.append(self._folder, "checkpoint", state.global_step, name=name)

    def _snapshot(self, step: int) -> None:
        if not self._main:
            return
        path = snapshots.path_of(self._folder, step)
        snapshots.write(path, step, trace_probe(self._setup, self._setup.probe))
        events.append(self._folder, "snapshot", step, file=path.name)
        self._disk_checked = False

    def _decided(self, step: int, device: torch.device) -> State:
        """Whether to end now, decided by the first process for all."""
        code = 0
        if self._main:
            request = pending_request(self._folder)
            if request in ("pause", "cancel"):
                code = 1 if request == "pause" else 2
            elif self._over_limit(step):
                code = 3
        if dist.is_initialized() and dist.get_world_size() > 1:
            shared = torch.tensor([code], device=device)
            dist.broadcast(shared, src=0)
            code = int(shared[0])
        return _ENDINGS[code]

    def _over_limit(self, step: int) -> bool:
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


def trace_probe(setup: TrainingSetup, probe: ProbeExample) -> Trace:
    """The probe through the model as it is now, without dropout; its mode is put back."""
    base = setup.base
    was_training = base.training
    base.eval()
    try:
        model = Model(wrap_module(base, setup.tokenizer, setup.processor))
        if probe.image is not None:
            return model.trace(image=probe.image, keep=("qkv",))
        return model.trace(probe.text, target=probe.target, keep=("qkv",))
    finally:
        base.train(was_training)


def _memory(device: torch.device) -> int:
    """Bytes: of the process, or the most that was held on a GPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
